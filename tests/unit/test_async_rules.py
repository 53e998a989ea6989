"""The linters' rules about Trio that we rely on: each one finds its mistake, in a file that `make check` shows them."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MISTAKES = {
    "ASYNC100": """
        async def f():
            with trio.fail_after(1):
                pass
        """,
    "ASYNC101": """
        def f():
            with trio.CancelScope():
                yield 1
        """,
    "ASYNC102": """
        async def f():
            try:
                await g()
            finally:
                await g()
        """,
    "ASYNC103": """
        def f():
            try:
                g()
            except BaseException:
                pass
        """,
    "ASYNC104": """
        def f():
            try:
                g()
            except BaseException:
                raise ValueError from None
        """,
    "ASYNC105": """
        async def f():
            trio.sleep(1)
        """,
    "ASYNC106": "from trio import sleep",
    "ASYNC110": """
        async def f():
            while not g():
                await trio.sleep(1)
        """,
    "ASYNC111": """
        async def f():
            async with trio.open_nursery() as nursery:
                with open("a") as file:
                    nursery.start_soon(g, file)
        """,
    "ASYNC112": """
        async def f():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(g)
        """,
    "ASYNC113": """
        class A:
            async def __aenter__(self):
                self.nursery.start_soon(trio.serve_tcp)
        """,
    "ASYNC115": """
        async def f():
            await trio.sleep(0)
        """,
    "ASYNC116": """
        async def f():
            await trio.sleep(1_000_000)
        """,
    "ASYNC119": """
        async def f():
            with g():
                yield 1
        """,
    "ASYNC120": """
        async def f():
            try:
                g()
            except ValueError:
                await g()
                raise
        """,
    "ASYNC121": """
        async def f():
            async with trio.open_nursery():
                return
        """,
    "ASYNC122": """
        def f():
            scope = trio.fail_after(1)
            with scope:
                pass
        """,
    "ASYNC123": """
        def f():
            try:
                g()
            except ExceptionGroup as group:
                raise group.exceptions[0]
        """,
    "ASYNC125": "trio.CancelScope(deadline=7)",
    "ASYNC126": """
        class Mine(ExceptionGroup):
            pass
        """,
    "ASYNC127": "import httpx",
    "ASYNC128": """
        async def f(task_status: trio.TaskStatus):
            await g()
        """,
    "ASYNC210": """
        import requests
        async def f():
            requests.get("x")
        """,
    "ASYNC220": """
        import subprocess
        async def f():
            subprocess.Popen("x")
        """,
    "ASYNC221": """
        import subprocess
        async def f():
            subprocess.run("x")
        """,
    "ASYNC222": """
        import os
        async def f():
            os.wait()
        """,
    "ASYNC230": """
        async def f():
            open("x")
        """,
    "ASYNC231": """
        import os
        async def f():
            os.fdopen(1)
        """,
    "ASYNC232": """
        async def f():
            file = open("x")
            file.read()
        """,
    "ASYNC240": """
        from pathlib import Path
        async def f():
            Path("x").exists()
        """,
    "ASYNC250": """
        async def f():
            input()
        """,
    "ASYNC251": """
        import time
        async def f():
            time.sleep(1)
        """,
    "ASYNC400": """
        try:
            g()
        except* ValueError as group:
            group.errno
        """,
    "ASYNC401": """
        import pytest
        with pytest.raises(ExceptionGroup):
            pass
        """,
}
OF_TRIO = ("trio.", "async def")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Return which file broke which rule, by both linters with the project's configuration."""
    folder = tmp_path_factory.mktemp("mistakes")
    for rule, mistake in MISTAKES.items():
        text = textwrap.dedent(mistake)
        needs_trio = any(word in text for word in OF_TRIO)
        (folder / f"{rule}.py").write_text(("import trio\n" if needs_trio else "") + text)
    ruff = _run("ruff", "check", "--no-cache", "--config", "pyproject.toml", "--output-format", "json", str(folder))
    broken = {(Path(one["filename"]).stem, str(one["code"])) for one in json.loads(ruff)}
    flake8 = _run("flake8", "--config", ".flake8", "--format", "%(path)s %(code)s", *map(str, folder.iterdir()))
    return broken | {(Path(path).stem, code) for path, code in (line.split() for line in flake8.splitlines())}


@pytest.mark.parametrize("rule", MISTAKES)
def test_a_mistake_with_trio_is_found(rule: str, found: set[tuple[str, str]]) -> None:
    assert (rule, rule) in found


@pytest.mark.parametrize("rule", MISTAKES)
def test_a_file_with_a_mistake_is_among_those_that_are_looked_at(rule: str) -> None:
    [words] = re.findall(r"^ASYNC_WORDS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.search(words.replace("$$", "$"), MISTAKES[rule], re.MULTILINE)


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    return done.stdout
