"""The rules between the packages, read from the code: who may import whom, and that no imports form a circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("supervisor", "bridge", "receiver")
STDLIB_ONLY = "standard library"


def modules() -> dict[str, Path]:
    """Return every module of ours by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, *, at_import_time: bool = False) -> set[str]:
    """Return what a module imports; of our own packages the most exact module that exists."""
    tree = ast.parse(MODULES[name].read_text())
    nodes = _top_level(tree) if at_import_time else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return found


def _top_level(tree: ast.Module) -> list[ast.AST]:
    """Return the nodes that run when the module is imported: no function bodies, nothing for the type checker alone."""
    nodes: list[ast.AST] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        nodes.append(node)
        waiting += ast.iter_child_nodes(node)
    return nodes


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def breaches(package: str, forbidden: str) -> list[str]:
    return [
        f"{name} imports {imported}"
        for name in MODULES
        if within(name, package)
        for imported in imports(name)
        if within(imported, forbidden)
    ]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("bridge.api", "bridge.engine"),
        ("bridge.webhooks", "bridge.engine"),
        ("bridge.store", "bridge.api"),
        ("bridge.store", "bridge.engine"),
        ("bridge.store", "bridge.instances"),
        ("bridge.engine", "bridge.store"),
        ("bridge.engine", "bridge.api"),
        ("bridge.engine", "bridge.instances"),
        ("bridge.instances", "bridge.api"),
        ("bridge.instances", "psycopg"),
        ("bridge.api", "psycopg"),
        ("bridge.webhooks", "psycopg"),
        ("bridge.engine", "psycopg"),
        ("receiver", "bridge"),
        ("receiver", "supervisor"),
        ("bridge", "receiver"),
    ],
)
def test_a_package_keeps_away_from(package: str, forbidden: str) -> None:
    assert breaches(package, forbidden) == []


def test_the_sandbox_is_imported_by_the_command_line_alone() -> None:
    allowed = ("bridge.sandbox", "bridge.cli")
    found = [line for line in breaches("bridge", "bridge.sandbox") if not line.startswith(allowed)]
    assert found == []


@pytest.mark.parametrize(
    ("package", "allowed"), [("supervisor", {"trio", "supervisor"}), ("bridge.domain", {"bridge"})]
)
def test_a_core_package_needs_next_to_nothing(package: str, allowed: set[str]) -> None:
    import sys

    for name in MODULES:
        if within(name, package):
            foreign = {imported.split(".")[0] for imported in imports(name)} - sys.stdlib_module_names - allowed
            assert not foreign, f"{name} imports {foreign}"
            if package == "bridge.domain":
                outside = {i for i in imports(name) if within(i, "bridge") and not within(i, "bridge.domain")}
                assert not outside, f"{name} imports {outside}"


def test_only_the_store_knows_sql() -> None:
    words = ("insert into", "select ", "delete from", "update bridge.")
    for name, path in MODULES.items():
        if within(name, "bridge") and not within(name, "bridge.store") and not within(name, "bridge.sandbox"):
            strings = [
                node.value.lower().lstrip()
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            assert not [text for text in strings if text.startswith(words)], name


def test_no_imports_form_a_circle() -> None:
    graph = {name: {i for i in imports(name, at_import_time=True) if i in MODULES} - {name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for imported in sorted(graph[name]):
                visit(imported, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_no_file_outgrows_a_reading() -> None:
    long = [name for name, path in MODULES.items() if len(path.read_text().splitlines()) > 400]
    assert long == []
