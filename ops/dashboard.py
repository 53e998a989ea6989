"""The Grafana dashboard as a table: `python -m ops.dashboard > ops/observability/grafana/dashboards/bridge.json`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
STAT, GRAPH = "stat", "timeseries"
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: queries by legend, in a unit of Grafana's."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = GRAPH
    width: int = 8
    height: int = 7
    bad_from: float | None = None
    """From which value on it is red."""
    stacked: bool = False
    note: str = ""


def quantiles(metric: str, *shares: float, by: str = "") -> tuple[tuple[str, str], ...]:
    """Return queries for the quantiles of a histogram over five minutes."""
    labels = f"le, {by}" if by else "le"
    return tuple(
        (
            f"p{share * 100:g}" + (f" {{{{{by}}}}}" if by else ""),
            f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[5m])))",
        )
        for share in shares
    )


ROWS: Sequence[tuple[str, Sequence[Panel]]] = (
    (
        "Now",
        (
            Panel("Bridge", (("ready", "bridge_ready"),), kind=STAT, width=3, height=4),
            Panel("PostgreSQL", (("up", "bridge_store_up"),), kind=STAT, width=3, height=4),
            Panel("Online", (("online", 'bridge_instances{state="online"}'),), kind=STAT, width=3, height=4),
            Panel(
                "Need somebody",
                (("", 'sum(bridge_instances{state=~"logged_out|conflict|restricted|failed"})'),),
                kind=STAT, width=3, height=4, bad_from=1,
            ),
            Panel("Webhooks waiting", (("", "bridge_undelivered_events"),), kind=STAT, width=3, height=4),
            Panel(
                "Oldest waiting",
                (("", "bridge_oldest_undelivered_seconds"),),
                unit="s", kind=STAT, width=3, height=4, bad_from=900,
            ),
            Panel(
                "Endpoints held or disabled",
                (("", 'sum(bridge_endpoints{state=~"held|disabled"})'),),
                kind=STAT, width=3, height=4, bad_from=1,
            ),
            Panel("Parked runs", (("", "sum(receiver_handler_parked)"),), kind=STAT, width=3, height=4, bad_from=1),
        ),
    ),
    (
        "Numbers",
        (
            Panel("Instances by state", (("{{state}}", "bridge_instances"),), stacked=True),
            Panel(
                "Events in",
                (("{{type}}", "sum by (type) (rate(bridge_events_total[5m]))"),),
                unit="eps", note="Each stored once.",
            ),
            Panel(
                "Sends by outcome", (("{{outcome}}", "sum by (outcome) (rate(bridge_send_seconds_count[5m]))"),), "ops"
            ),
            Panel("Time of a send", quantiles("bridge_send_seconds", 0.5, 0.95, 0.99), "s"),
            Panel(
                "Sends without an outcome",
                (("{{state}}", "bridge_commands"), ("fullest mailbox", "bridge_mailbox_messages_max")),
            ),
            Panel(
                "Restarts and parkings",
                (
                    ("{{part}} restarts", "increase(bridge_child_restarts_total[5m])"),
                    ("{{part}} parkings", "increase(bridge_child_parkings_total[5m])"),
                ),
            ),
        ),
    ),
    (
        "Webhooks",
        (
            Panel("Deliveries by result", (("{{result}}", "rate(bridge_deliveries_total[5m])"),), "ops"),
            Panel("Waiting, by endpoint", (("{{endpoint}}", "bridge_endpoint_lag_events"),)),
            Panel(
                "Oldest waiting, by endpoint", (("{{endpoint}}", "bridge_endpoint_oldest_undelivered_seconds"),), "s"
            ),
            Panel(
                "Receiver: webhooks",
                (
                    ("{{result}}", "sum by (result) (rate(receiver_webhooks_total[5m]))"),
                    ("refused: {{reason}}", "sum by (reason) (rate(receiver_refused_total[5m]))"),
                ),
                "ops",
            ),
            Panel("Receiver: lag behind the bridge", quantiles("receiver_event_lag_seconds", 0.5, 0.99), "s"),
            Panel(
                "Receiver: handlers",
                (
                    ("{{handler}} waiting", "receiver_handler_pending"),
                    ("{{handler}} parked", "receiver_handler_parked"),
                ),
            ),
        ),
    ),
    (
        "Machine",
        (
            Panel(
                "Memory",
                (
                    ("bridge", 'process_resident_memory_bytes{job="bridge"}'),
                    ("engines {{kind}}", "bridge_engine_memory_bytes"),
                    ("receiver", "receiver_process_resident_memory_bytes"),
                ),
                "bytes", stacked=True,
            ),
            Panel(
                "CPU",
                (
                    ("bridge", 'rate(process_cpu_seconds_total{job="bridge"}[5m])'),
                    ("receiver", "rate(receiver_process_cpu_seconds_total[5m])"),
                ),
                "percentunit",
            ),
            Panel("Event loop lag", quantiles("bridge_event_loop_lag_seconds", 0.5, 0.99), "s"),
            Panel(
                "HTTP requests", (("{{status}}", "sum by (status) (rate(bridge_http_requests_total[5m]))"),), "reqps"
            ),
            Panel("Time of a request, p95", quantiles("bridge_http_request_seconds", 0.95, by="access"), "s"),
            Panel(
                "Connections to PostgreSQL",
                (
                    ("{{state}}", "bridge_pool_connections"),
                    ("waiting", "bridge_pool_waiting"),
                    ("allowed", "bridge_pool_size"),
                ),
            ),
        ),
    ),
)  # fmt: skip


def queries() -> list[tuple[str, str]]:
    """Return every query with the title of its panel."""
    return [(panel.title, query) for _, panels in ROWS for panel in panels for _, query in panel.queries]


def dashboard() -> dict[str, object]:
    """Return the dashboard as Grafana reads it (schema 39, Grafana 11 and newer)."""
    made: list[dict[str, object]] = []
    top = 0
    for title, panels in ROWS:
        made.append(
            {"id": len(made) + 1, "type": "row", "title": title, "gridPos": _place(0, top, COLUMNS, 1), "panels": []}
        )
        top, left, tallest = top + 1, 0, 0
        for panel in panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            made.append(_panel(len(made) + 1, panel, _place(left, top, panel.width, panel.height)))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return {
        "uid": "whatsapp-bridge",
        "title": "WhatsApp bridge",
        "tags": ["whatsapp-bridge"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "panels": made,
    }


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, object]:
    steps: list[dict[str, object]] = [{"color": "green", "value": None}]
    if panel.bad_from is not None:
        steps.append({"color": "red", "value": panel.bad_from})
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {"fillOpacity": 5}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.note,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
            | ({"custom": custom, "min": 0} if panel.kind == GRAPH else {}),
            "overrides": [],
        },
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}}
        if panel.kind == STAT
        else {
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query,
                "legendFormat": legend or panel.title,
            }
            for index, (legend, query) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
