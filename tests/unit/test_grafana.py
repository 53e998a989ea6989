"""What Grafana is given is in its own words: the dashboard against Grafana's types, the provisioning against its keys.

Grafana itself is not run here: how the panels look is not shown.
"""

import copy
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models.common import GraphFieldConfig
from grafana_foundation_sdk.models.dashboard import GridPos, Panel, RowPanel
from grafana_foundation_sdk.models.prometheus import Dataquery
from grafana_foundation_sdk.models.stat import Options as StatOptions
from grafana_foundation_sdk.models.timeseries import Options as GraphOptions

from tests.support import grafana

FOLDER = Path(__file__).parents[2] / "ops" / "observability" / "grafana"
KEPT: dict[str, Any] = json.loads((FOLDER / "dashboards" / "bridge.json").read_text())
SOURCES = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "prometheus.yml").read_text())
PROVIDERS = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "bridge.yml").read_text())

SOURCE_KEYS = {"orgId", "version", "name", "type", "access", "url", "user", "database", "basicAuth", "basicAuthUser"}
SOURCE_KEYS |= {"withCredentials", "isDefault", "correlations", "jsonData", "secureJsonData", "editable", "uid"}
PROVIDER_KEYS = {"name", "type", "orgId", "folder", "folderUid", "editable", "options", "disableDeletion"}
PROVIDER_KEYS |= {"updateIntervalSeconds", "allowUiUpdates"}
"""As in grafana.com/docs/grafana/v12.1/administration/provisioning; other keys are passed over in silence."""


def panels() -> list[Panel]:
    return [panel for panel in grafana.read(KEPT).panels or [] if isinstance(panel, Panel)]


def test_grafanas_types_know_all_that_the_dashboard_says() -> None:
    assert grafana.mistakes(KEPT) == []


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("made_up", 1),
        ("refreshes", "30s"),
        ("schemaVersion", "39"),
        ("time.since", "now-3h"),
        ("panels.1.titel", "Bridge"),
        ("panels.1.type", "stats"),
        ("panels.1.gridPos.z", 1),
        ("panels.1.gridPos.w", "3"),
        ("panels.1.options.reduceOptions.calc", []),
        ("panels.1.options.legend", {}),  # a graph has that, a single figure has not
        ("panels.1.fieldConfig.defaults.custom", {"fillOpacity": 5}),  # likewise
        ("panels.1.fieldConfig.defaults.unit", "seconds"),
        ("panels.1.fieldConfig.defaults.thresholds.mode", "relative"),
        ("panels.1.targets.0.query", "up"),
        ("panels.1.targets.0.expr", 1),
        ("panels.10.options.reduceOptions", {"calcs": []}),
        ("panels.10.options.legend.displayMode", "lines"),
        ("panels.10.options.tooltip.mode", "all"),
        ("panels.10.fieldConfig.defaults.custom.fill", 30),
        ("panels.10.fieldConfig.defaults.custom.stacking.mode", "on"),
        ("panels.10.datasource.type", "prometeus"),
    ],
)
def test_a_key_or_a_value_that_grafana_does_not_know_is_found(at: str, value: object) -> None:
    wrong = copy.deepcopy(KEPT)
    path, _, last = at.rpartition(".")
    part: Any = wrong
    for step in path.split(".") if path else ():
        part = part[int(step) if step.isdigit() else step]
    part[last] = value
    assert grafana.mistakes(wrong)


def test_panels_are_of_the_types_that_were_meant_and_their_legends_show() -> None:
    for panel in panels():
        assert panel.field_config is not None
        if panel.type_val == "stat":
            assert isinstance(panel.options, StatOptions)
        else:
            assert isinstance(panel.options, GraphOptions) and panel.options.legend.show_legend
            assert isinstance(panel.field_config.defaults.custom, GraphFieldConfig)


def test_every_query_asks_the_source_that_is_provisioned() -> None:
    [source] = SOURCES["datasources"]
    for panel in panels():
        assert panel.targets and panel.datasource is not None
        for target in panel.targets:
            assert isinstance(target, Dataquery) and target.expr and target.datasource is not None
            for asked in (panel.datasource, target.datasource):
                assert (asked.type_val, asked.uid) == (source["type"], source["uid"])
        names = [target.ref_id for target in panel.targets if isinstance(target, Dataquery)]
        assert len(set(names)) == len(names)


def test_no_two_panels_share_an_id_or_a_place() -> None:
    all_panels = grafana.read(KEPT).panels or []
    assert len({panel.id_val for panel in all_panels}) == len(all_panels)
    assert any(isinstance(panel, RowPanel) for panel in all_panels)
    places = [panel.grid_pos for panel in all_panels if panel.grid_pos]
    assert len(places) == len(all_panels)
    for place in places:
        assert place.x >= 0 and place.x + place.w <= 24
    for one, other in combinations(places, 2):
        assert not _overlap(one, other), (vars(one), vars(other))


def test_provisioning_says_nothing_that_grafana_passes_over() -> None:
    assert set(SOURCES) == {"apiVersion", "datasources"} and set(PROVIDERS) == {"apiVersion", "providers"}
    assert (SOURCES["apiVersion"], PROVIDERS["apiVersion"]) == (1, 1)
    [source], [provider] = SOURCES["datasources"], PROVIDERS["providers"]
    assert {"name", "type", "access", "url", "uid"} <= set(source) <= SOURCE_KEYS
    assert source["access"] in ("proxy", "direct")
    assert {"name", "type", "options"} <= set(provider) <= PROVIDER_KEYS
    assert provider["type"] == "file" and set(provider["options"]) <= {"path", "foldersFromFilesStructure"}


def _overlap(one: GridPos, other: GridPos) -> bool:
    beside = one.x + one.w <= other.x or other.x + other.w <= one.x
    above = one.y + one.h <= other.y or other.y + other.h <= one.y
    return not beside and not above
