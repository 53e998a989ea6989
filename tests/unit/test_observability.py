"""Rules and dashboard speak of metrics that there are, and of runbooks that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import yaml
from prometheus_client import Metric

from bridge.meters import METERS
from bridge.scrape import COUNTER, FAMILIES
from ops import dashboard
from receiver.desk import Shown
from receiver.metrics import Metrics, Snapshot, families
from receiver.store import Backlog

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops" / "observability"
NAME = re.compile(r"\b(?:bridge|receiver|process)_[a-z_]+\b")
OF_A_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def series(found: Metric) -> set[str]:
    return {found.name + suffix for suffix in _SUFFIXES[found.type]}


def names_of_the_code() -> set[str]:
    """Return every series that bridge and receiver give."""
    names = {name + ("_total" if family.kind == COUNTER else "") for name, family in FAMILIES.items()}
    for meter in METERS:
        for found in meter.describe() or meter.collect():
            names |= series(found)
    handler = (Shown("crm", "up", 1, 1, 0, None, {"ok": 1}), Backlog(0, 0, None))
    snapshot = Snapshot({}, {"bad_signature": 1}, 0, database_up=True, handlers=(handler,))
    for found in families(snapshot):
        names |= series(found)
    text = Metrics().render(snapshot).decode()
    return names | set(re.findall(r"^(receiver_[a-z_]+)", text, re.MULTILINE)) | OF_A_PROCESS


def rules() -> list[dict[str, object]]:
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_metric_that_rules_and_dashboard_name_is_one_of_the_code() -> None:
    known = names_of_the_code()
    for file in (*FOLDER.rglob("*.yml"), *FOLDER.rglob("*.json")):
        text = re.sub(r"\{[^}]*\}|by \([^)]*\)", "", file.read_text())
        assert set(NAME.findall(text)) <= known, file.name


def test_the_dashboard_is_what_the_table_says() -> None:
    """`python -m ops.dashboard > ops/observability/grafana/dashboards/bridge.json` renews it."""
    kept = json.loads((FOLDER / "grafana" / "dashboards" / "bridge.json").read_text())
    assert kept == json.loads(json.dumps(dashboard.dashboard()))
    places = [tuple(panel["gridPos"].values()) for panel in kept["panels"]]
    assert len(set(places)) == len(places)


def test_every_rule_says_how_urgent_it_is_and_has_a_runbook_that_exists() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]  # type: ignore[index]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")  # type: ignore[index]
        assert (page, anchor in anchors) == ("docs/runbooks.md", True), rule["alert"]


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    """Where Prometheus' own tool is installed; `ops/observability/check.sh` is the same by hand."""
    if shutil.which("promtool") is not None:
        done = subprocess.run([FOLDER / "check.sh"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_compose_has_what_the_configuration_names() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    for job in jobs:
        host, _, port = job["static_configs"][0]["targets"][0].partition(":")
        assert services[host]["ports"][0].endswith(f":{port}")
    source = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["uid"] == dashboard.DATASOURCE["uid"]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/bridge.yml").read_text())["providers"][0]
    assert any(volume.split(":")[1] == provider["options"]["path"] for volume in services["grafana"]["volumes"])
