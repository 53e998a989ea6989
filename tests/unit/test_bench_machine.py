"""What the bench reads off the machine, with the test's own process in the place of a database's backend."""

import os

import pytest
from psutil import Process

from ops.bench.machine import Meter, cpu_s


@pytest.fixture
def backends() -> dict[int, str]:
    return {}


@pytest.fixture
def meter(backends: dict[int, str]) -> Meter:
    return Meter(dict, lambda: backends, lambda: 0)


def test_a_backend_that_began_meanwhile_counts_with_all_that_it_used(meter: Meter, backends: dict[int, str]) -> None:
    before = meter.read()
    backends[os.getpid()] = "engine"
    assert meter.usage(before).postgres_s["engine"] >= before.bench_s * 0.9 > 0


def test_a_backend_that_was_there_counts_with_what_it_used_since(meter: Meter, backends: dict[int, str]) -> None:
    backends[os.getpid()] = "engine"
    earlier = cpu_s(Process())
    used = meter.usage(meter.read()).postgres_s["engine"]
    assert used <= cpu_s(Process()) - earlier
