"""What Prometheus is told: read from a tree and a census that are given, and from what the code counts."""

import time

import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from bridge import meters
from bridge.probe import watch_loop
from bridge.scrape import FAMILIES, MAX_ENDPOINTS, Reading, read_census, read_tree, render
from bridge.store.census import Census, Lag
from supervisor import Change, Snapshot
from supervisor.snapshot import Kind, State
from tests.support.api import eventually, running_api


def samples(text: bytes) -> dict[str, float]:
    """Return every sample by its name and labels, as they are written."""
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def worker(name: str, state: State = State.RUNNING, **detail: object) -> Snapshot:
    return Snapshot(name, Kind.WORKER, state, detail=detail)


def tree(engines: tuple[Snapshot, ...], instances: tuple[Snapshot, ...]) -> Snapshot:
    parts = [Snapshot("engines", Kind.SUPERVISOR, State.RUNNING, children=engines)]
    parts.append(Snapshot("instances", Kind.SUPERVISOR, State.RUNNING, children=instances))
    return Snapshot("root", Kind.SUPERVISOR, State.RUNNING, children=(worker("store"), *parts))


def test_hosts_and_mailboxes_are_read_from_the_tree() -> None:
    reading = Reading()
    read_tree(
        reading,
        tree(
            (
                worker("host 0", sessions=25, rss_mb=100.0),
                worker("host 1", sessions=3, rss_mb=40.5),
                worker("host 2", State.BACKOFF),
                worker("host p1", sessions=1),
            ),
            (
                worker("instance a", mailbox=2, held={"rate": 3, "new_chats": 1}),
                worker("instance b", mailbox=7, held={"rate": 2}),
                worker("instance c", State.PARKED),
            ),
        ),
    )
    seen = samples(render(reading))
    assert seen['bridge_engine_hosts{kind="shared"}'] == 2
    assert seen['bridge_engine_sessions{kind="shared"}'] == 28
    assert seen['bridge_engine_memory_bytes{kind="shared"}'] == 140.5 * 1024 * 1024
    assert seen['bridge_engine_memory_max_bytes{kind="shared"}'] == 100 * 1024 * 1024
    assert seen['bridge_engine_hosts{kind="pairing"}'] == 1
    assert (seen["bridge_mailbox_messages"], seen["bridge_mailbox_messages_max"]) == (9, 7)
    assert seen['bridge_held_sends{reason="rate"}'] == 5
    assert (seen['bridge_held_sends{reason="new_chats"}'], seen['bridge_held_sends{reason="chat_gap"}']) == (1, 0)
    assert seen['bridge_children{part="instances",state="parked"}'] == 1
    assert seen['bridge_children{part="engines",state="backoff"}'] == 1
    assert seen['bridge_children{part="root",state="running"}'] == 3


def test_a_state_that_nothing_is_in_is_a_zero_and_not_absent() -> None:
    reading = Reading()
    read_tree(reading, tree((), ()))
    read_census(reading, Census({}, {}, {}, ()), held=0)
    seen = samples(render(reading))
    for name in ('instances{state="online"}', 'endpoints{state="held"}', 'commands{state="running"}'):
        assert seen[f"bridge_{name}"] == 0
    assert seen["bridge_oldest_undelivered_seconds"] == seen["bridge_undelivered_events"] == 0
    assert seen['bridge_engine_hosts{kind="shared"}'] == 0
    assert seen['bridge_children{part="engines",state="parked"}'] == 0


def test_only_those_that_wait_longest_have_a_line_of_their_own_and_all_are_in_the_sum() -> None:
    lags = tuple(Lag(f"whk_{number}", 2, float(number)) for number in range(MAX_ENDPOINTS + 50))
    reading = Reading()
    read_census(reading, Census({"online": 3}, {"active": 150}, {"queued": 4}, lags), held=1)
    seen = samples(render(reading))
    assert seen["bridge_undelivered_events"] == 300 and seen["bridge_oldest_undelivered_seconds"] == 149
    shown = [name for name in seen if name.startswith("bridge_endpoint_lag_events{")]
    assert len(shown) == MAX_ENDPOINTS and 'bridge_endpoint_lag_events{endpoint="whk_149"}' in shown
    assert seen['bridge_instances{state="online"}'] == 3 and seen['bridge_commands{state="queued"}'] == 4


def test_what_is_rendered_is_what_prometheus_reads() -> None:
    reading = Reading()
    for name, family in FAMILIES.items():
        reading.put(name, 1, *(f'a "quoted" {label}\n' for label in family.labels))
    names = {family.name for family in text_string_to_metric_families(render(reading).decode())}
    assert set(FAMILIES) <= names


def test_restarts_and_parkings_are_counted_by_part() -> None:
    def counted() -> tuple[float, float]:
        return (meters.RESTARTS.labels("test")._value.get(), meters.PARKED.labels("test")._value.get())

    count = meters.counting("test")
    before = counted()
    for state in (State.STARTING, State.RUNNING, State.BACKOFF, State.STARTING, State.PARKED):
        count(Change("child", state, None))
    assert counted() == (before[0] + 1, before[1] + 1)


async def test_a_blocked_event_loop_is_measured() -> None:
    def lag_s() -> float:
        return float(meters.LOOP_LAG_SECONDS._sum.get())

    stop, before = trio.Event(), lag_s()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch_loop(stop=stop, task_status=task_status))
        await trio.testing.wait_all_tasks_blocked()
        time.sleep(0.6)  # noqa: ASYNC251  # what must not happen
        with trio.fail_after(5):
            while lag_s() < before + 0.3:  # noqa: ASYNC110
                await trio.sleep(0.01)
        stop.set()


def requests(method: str, route: str, status: int) -> float:
    found = samples(render(Reading()))
    return found.get(f'bridge_http_requests_total{{method="{method}",route="{route}",status="{status}"}}', 0)


async def test_requests_are_counted_under_their_route_and_never_under_what_a_stranger_wrote() -> None:
    def counts() -> tuple[float, ...]:
        return (
            requests("GET", "/instance/{key}", 404),
            requests("GET", "none", 404),
            requests("other", "none", 405),
        )

    async with running_api() as api, api.stranger() as stranger:
        before = counts()
        await api.client.get("/instance/" + "0" * 32)
        await stranger.get("/made-up-by-a-stranger")
        await stranger.request("BREW", "/livez")
        await eventually(lambda: counts() == tuple(count + 1 for count in before))  # counted after the answer
    assert b"made-up" not in render(Reading()) and b"BREW" not in render(Reading())


async def test_metrics_need_a_viewers_key_unless_they_are_open_or_off() -> None:
    for setting, without, with_key in (("key", 401, 200), ("open", 200, 200), ("off", 404, 404)):
        async with running_api(metrics=setting) as api, api.stranger() as stranger:
            api.store.add_key("viewer-key", role="viewer")
            assert (await stranger.get("/metrics")).status_code == without
            answer = await stranger.get("/metrics", headers={"Authorization": "Bearer viewer-key"})
            assert answer.status_code == with_key
            if with_key == 200:
                assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
