"""What senders see while PostgreSQL is late, gone, stuck or restarted: 503 and nothing lost."""

from collections.abc import Iterator

import psycopg
import pytest
import trio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bridge.store.embedded import Embedded
from tests.support.receiver import serving, until


class Switch:
    """Takes one database away from everybody and gives it back."""

    def __init__(self, admin: psycopg.Connection, url: str) -> None:
        self._admin = admin
        self._name = str(conninfo_to_dict(url)["dbname"])

    def disconnect(self) -> None:
        """End every connection, as a restart of the server does."""
        self._admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (self._name,))

    def off(self) -> None:
        self._allow(False)
        self.disconnect()

    def on(self) -> None:
        self._allow(True)

    def _allow(self, allowed: bool) -> None:
        name = sql.Identifier(self._name)
        self._admin.execute(sql.SQL("alter database {} allow_connections {}").format(name, sql.Literal(allowed)))


@pytest.fixture
def switch(postgres: Embedded, empty_database_url: str) -> Iterator[Switch]:
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        found = Switch(admin, empty_database_url)
        try:
            yield found
        finally:
            found.on()


async def test_a_database_that_comes_late_is_waited_for(switch: Switch, empty_database_url: str) -> None:
    switch.off()
    async with serving(empty_database_url) as receiver:
        assert (await receiver.client.get("/livez")).status_code == 200
        unready = await receiver.client.get("/readyz")
        assert (unready.status_code, unready.json()["code"]) == (503, "store_unavailable")
        assert (await receiver.client.get("/health")).json()["status"] == "degraded"
        switch.on()
        await receiver.until_ready()
        assert (await receiver.post(1)).status_code == 200


async def test_while_the_database_is_away_senders_are_told_to_come_back(
    switch: Switch, empty_database_url: str
) -> None:
    async with serving(empty_database_url) as receiver:
        await receiver.until_ready()
        await receiver.post(1)
        switch.off()
        refused = await receiver.post(2)
        assert (refused.status_code, refused.json()["retryable"]) == (503, True)
        assert refused.headers["retry-after"] == "1"
        assert (await receiver.client.get("/events")).status_code == 503
        switch.on()
        await receiver.until_ready()
        assert (await receiver.post(2)).json() == {"status": "stored"}
        assert [event["webhook_id"] for event in await receiver.events()] == ["evt_1", "evt_2"]


async def test_a_restart_of_the_database_between_two_webhooks_is_not_noticed(
    switch: Switch, empty_database_url: str
) -> None:
    async with serving(empty_database_url) as receiver:
        await receiver.until_ready()
        for number in range(1, 6):
            switch.disconnect()
            assert (await receiver.post(number)).json() == {"status": "stored"}
            assert len(await receiver.events()) == number


async def test_webhooks_in_flight_when_the_connection_breaks_are_stored_once(
    switch: Switch, empty_database_url: str
) -> None:
    async with serving(empty_database_url) as receiver:
        await receiver.until_ready()
        statuses: list[int] = []

        async def post(number: int) -> None:
            answer = await receiver.post(number)
            while answer.status_code == 503:  # as the bridge does
                answer = await receiver.post(number)
            statuses.append(answer.status_code)

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(post, number)
                if number % 20 == 10:
                    await trio.testing.wait_all_tasks_blocked()
                    switch.disconnect()
        assert statuses == [200] * 60
        assert len(await receiver.events()) == 60


async def test_a_database_that_hangs_is_given_up_in_time(empty_database_url: str) -> None:
    async with serving(empty_database_url, deadline_s=0.3) as receiver:
        await receiver.until_ready()
        with psycopg.connect(empty_database_url, autocommit=True) as other:
            with other.transaction():
                other.execute("lock table receiver.event in exclusive mode")
                assert (await receiver.post(1)).status_code == 503

            async def stored() -> bool:
                return (await receiver.post(1)).status_code == 200

            await until(stored)
            assert other.execute("select count(*) from receiver.event").fetchone() == (1,)


async def test_a_wiped_database_is_set_up_again(switch: Switch, empty_database_url: str) -> None:
    async with serving(empty_database_url) as receiver:
        await receiver.until_ready()
        with psycopg.connect(empty_database_url, autocommit=True) as other:
            other.execute("drop schema receiver cascade")

        async def stored() -> bool:
            return (await receiver.post(1)).status_code == 200

        await until(stored)
        assert len(await receiver.events()) == 1
