"""Has a real Prometheus watch a run of the sandbox, and asks it every query of the dashboard and every rule.

`python -m ops.observe [--seconds 120] [--picture FILE]`; needs `prometheus` (and a Chromium for the picture). Ends with
1 when a query gives nothing. The picture is drawn from Prometheus' answers to the dashboard's queries, panel by panel;
it is no screenshot of Grafana, which this does not need. `--at URL` asks a Prometheus that runs already, as the one of
Compose in `make compose-check`.
"""

import argparse
import html
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from ops import dashboard, demo

ROOT = Path(__file__).parents[1] / "ops" / "observability"
NOT_AT_ONCE = {"increase(bridge_child_restarts_total[5m])", "increase(bridge_child_parkings_total[5m])"}
"""Counters that appear when something has ended."""
COLOURS = ("#3274d9", "#e0752d", "#56a64b", "#c4162a", "#8f3bb8", "#b99600", "#00848a", "#8b6f47")
WIDTH, HEIGHT, PAD = 420, 150, 26


class Asked:
    """A Prometheus that runs at `url`."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=f"{url}/api/v1", timeout=10, trust_env=False)

    def ask(self, path: str, **query: str) -> Any:
        answer = self._client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()["data"]

    def points(self, query: str, since: float) -> list[dict[str, Any]]:
        """Return the series of a query since then, a point every two seconds."""
        found = self.ask("/query_range", query=query, start=str(since), end=str(time.time()), step="2")
        series: list[dict[str, Any]] = found["result"]
        return series

    def wrong(self) -> list[str]:
        """Say which targets are away and which rules are in error; print how many there are."""
        targets = self.ask("/targets", state="active")["activeTargets"]
        rules = [rule for group in self.ask("/rules")["groups"] for rule in group["rules"]]
        firing = sorted(rule["name"] for rule in rules if rule["state"] != "inactive")
        print(f"{len(targets)} targets; {len(rules)} rules evaluated, firing or pending: {firing}")
        return [
            *(f"{target['scrapeUrl']}: {target['lastError']}" for target in targets if target["health"] != "up"),
            *(f"rule {rule['name']}: {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"),
            *([] if targets and rules else ["no targets, or no rules"]),
        ]


class Prometheus(Asked):
    """One of our own with our rules, asking at these addresses once a second."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        jobs = "".join(
            f"  - {{job_name: {job}, static_configs: [{{targets: ['{at}']}}]}}\n" for job, at in targets.items()
        )
        (folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s, evaluation_interval: 5s}}\nrule_files: ['{ROOT / 'rules.yml'}']\n"
            f"scrape_configs:\n{jobs}"
        )
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
            )
        super().__init__(f"http://127.0.0.1:{port}")


def traffic(story: demo.Story, seconds: float) -> None:
    """Texts in and out, an event that is refused, an endpoint that is away, and an engine that dies in the middle."""
    answer = story.api.post("/webhooks", json={"url": "http://127.0.0.1:9/away", "instance_key": story.key})
    answer.raise_for_status()
    story.world.post(f"{story.urls.receiver}/webhook", content=b"{}")
    until, number, killed = time.monotonic() + seconds, 0, False
    while time.monotonic() < until:
        number += 1
        text = "ping" if number % 10 == 0 else f"text {number}"
        sender = f"{story.urls.sandbox}/phones/{demo.CONTACT}/send"
        story.call(story.world, "POST", sender, to=demo.PHONE, text=text)
        story.api.post(
            "/message/send", json={"instance_key": story.key, "phone": demo.CONTACT, "message": f"answer {number}"}
        )
        if not killed and time.monotonic() > until - seconds / 2:
            killed = True
            story.kill_engine()
        time.sleep(0.1)  # the pace of the traffic, not a wait


def curve(points: list[list[Any]], since: float, until: float, top: float) -> str:
    places = [
        (PAD + (at - since) / (until - since) * (WIDTH - PAD), HEIGHT - PAD - float(value) / top * (HEIGHT - 2 * PAD))
        for at, value in points
        if value not in ("NaN", "+Inf")
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def drawing(panel: dashboard.Panel, series: list[tuple[str, list[list[Any]]]], since: float, until: float) -> str:
    """Return one panel as HTML: a number, or lines with their legend."""
    values = [float(value) for _, points in series for _, value in points if value not in ("NaN", "+Inf")]
    title = f"<h2>{html.escape(panel.title)} <small>{html.escape(panel.unit)}</small></h2>"
    if panel.kind == dashboard.STAT:
        return f'<section class="stat">{title}<p>{values[-1] if values else 0:g}</p></section>'
    top = max([*values, 1e-9])
    lines = "".join(
        f'<polyline points="{curve(points, since, until, top)}" stroke="{COLOURS[index % len(COLOURS)]}"/>'
        for index, (_, points) in enumerate(series)
    )
    legend = " ".join(
        f'<span style="color:{COLOURS[index % len(COLOURS)]}">{html.escape(name)}</span>'
        for index, (name, _) in enumerate(series)
    )
    axis = f'<text x="2" y="{PAD}">{top:.3g}</text><text x="2" y="{HEIGHT - PAD}">0</text>'
    return f'<section>{title}<svg viewBox="0 0 {WIDTH} {HEIGHT}">{axis}{lines}</svg><div>{legend}</div></section>'


def legend_of(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template


def look(prometheus: Asked, since: float) -> tuple[str, list[str]]:
    """Ask every query; return the page with the panels, and the queries that gave nothing."""
    until, empty, rows = time.time(), [], ""
    for title, panels in dashboard.ROWS:
        rows += f"<h1>{html.escape(title)}</h1><main>"
        for panel in panels:
            series: list[tuple[str, list[list[Any]]]] = []
            for legend, query in panel.queries:
                found = prometheus.points(query, since)
                if not found and query not in NOT_AT_ONCE:
                    empty.append(f"{panel.title}: {query}")
                series += [(legend_of(legend or panel.title, each["metric"]), each["values"]) for each in found]
            print(f"{title:9} {panel.title:32} {len(series):3} series", flush=True)
            rows += drawing(panel, series, since, until)
        rows += "</main>"
    note = "Drawn by ops/observe.py from Prometheus' answers to the dashboard's queries, during a run of the sandbox"
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><p>{note}</p>{rows}", empty


STYLE = """*{box-sizing:border-box}
body{font:13px system-ui,sans-serif;margin:12px;width:1320px;background:#fff;color:#222}
main{display:flex;flex-wrap:wrap;gap:8px}section{width:432px;border:1px solid #ccc;border-radius:4px;padding:6px}
section.stat{width:157px}section.stat p{font-size:26px;margin:4px 0;color:#1a7f37}h1{font-size:15px;margin:10px 0 6px}
h2{font-size:12px;margin:0 0 4px}small{color:#888;font-weight:400}polyline{fill:none;stroke-width:1.5}
text{font-size:9px;fill:#666}div{font-size:11px;line-height:1.4}"""


def picture(page: str, path: Path) -> None:
    """Have Chromium draw the page into a PNG."""
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(page)
        file.flush()
        program = os.environ.get("CHROMIUM") or shutil.which("chromium") or "chromium"
        flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1344,1580"]
        subprocess.run(
            [program, *flags, f"--screenshot={path.absolute()}", f"file://{file.name}"],
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def watch(seconds: float, path: Path | None) -> int:
    """Run everything for so long; return 0 when every query gave something and no rule was in error."""
    with tempfile.TemporaryDirectory(prefix="bridge-observe-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        os.environ |= {
            "BRIDGE_METRICS": "open",
            "BRIDGE_WEBHOOK_ALLOW": "127.0.0.1:9",
            "RECEIVER_HANDLERS": "receiver.examples.pong:answer",
            "PONG_API_KEY_FILE": str(folder / "api-key"),
        }
        process, urls = demo.start(name)
        prometheus = None
        try:
            since = time.time()
            at = {job: url.removeprefix("http://") for job, url in (("bridge", urls.api), ("receiver", urls.receiver))}
            prometheus = Prometheus(folder, at)
            story = demo.Story(urls)
            story.pair()
            traffic(story, seconds)
            page, empty = look(prometheus, since)
            wrong = prometheus.wrong()
            if path is not None:
                picture(page, path)
        finally:
            if prometheus is not None:
                prometheus.process.terminate()
                prometheus.process.wait(20)
            demo.stop(process)
    return told(empty, wrong)


def told(empty: list[str], wrong: list[str]) -> int:
    """Say what is missing; return the exit status."""
    print("\n".join([*(f"nothing for {line}" for line in empty), *wrong]) or "observe ok")
    return 1 if empty or wrong else 0


def main() -> int:
    """Read the flags and watch."""
    parser = argparse.ArgumentParser(
        description="Prometheus, the rules and the dashboard's queries, against the sandbox."
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--picture", type=Path, help="draw the panels into this PNG")
    parser.add_argument("--at", metavar="URL", help="ask a Prometheus that runs there, about the last five minutes")
    given = parser.parse_args()
    if given.at:
        asked = Asked(given.at)
        return told(look(asked, time.time() - 300)[1], asked.wrong())
    return watch(given.seconds, given.picture)


if __name__ == "__main__":
    sys.exit(main())
