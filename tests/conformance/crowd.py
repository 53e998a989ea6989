"""Many real clients at once on one sandbox: `python -m tests.conformance.crowd [300]`. Takes minutes; no test.

They are paired, fifty to a process, then all cut at the same moment, then get ten messages each. Printed is how long
that takes, and what the sandbox itself needs for it.
"""

import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.conformance.conftest import FOLDER
from tests.support.conformance import Client, Refused, Sandbox, Worker, until

PER_PROCESS = 50
MESSAGES_EACH = 10
RATE_PER_S = 200
TRIES = 5
LONG_S = 300.0


def pair(sandbox: Sandbox, worker: Worker, name: str) -> Client:
    """Pair a client; again when it refuses, as one does whose database file is locked by its neighbours."""
    phone = sandbox.post("/phones")["phone"]
    for attempt in range(TRIES):
        client = Client(worker, f"{name} {attempt}", phone)
        client.call("start", None, timeout_s=LONG_S)
        try:
            sandbox.post(f"/phones/{phone}/scan", qr=client.event("QRCode")["data"]["qr"])
        except Refused:
            continue
        client.event("Connected")
        return client
    raise AssertionError(f"{name} could not be paired")


def measure(clients: int, folder: Path) -> None:
    """Do it all; print a JSON line per step."""
    began = time.monotonic()
    sandbox = Sandbox(folder / "sandbox")
    process = psutil.Process(sandbox.process.pid)

    def told(step: str, since: float, **more: object) -> float:
        used = process.cpu_times()
        cpu_s = round(used.user + used.system, 1)
        rss = round(process.memory_info().rss / 2**20)
        seconds = round(time.monotonic() - since, 2)
        print(json.dumps({"step": step, "seconds": seconds, "sandbox_cpu_s": cpu_s, "sandbox_rss_mib": rss, **more}))
        return time.monotonic()

    def online() -> int:
        return int(sandbox.get("/health")["online"])

    since = told("sandbox up", began)
    workers = [Worker(sandbox, folder / f"clients {n}.sqlite") for n in range(-(-clients // PER_PROCESS))]
    try:
        shares = [range(n, clients, len(workers)) for n in range(len(workers))]
        with ThreadPoolExecutor(len(workers)) as pool:
            jobs = [
                pool.submit(lambda w=worker, mine=share: [pair(sandbox, w, f"client {n}") for n in mine])
                for worker, share in zip(workers, shares, strict=True)
            ]
            for job in jobs:
                job.result()
        until(lambda: online() == clients, LONG_S)
        since = told(f"{clients} paired and online", since)
        cut = sandbox.post("/faults", kind="cut")["connections"]
        until(lambda: online() < clients or cut != clients)
        until(lambda: online() == clients, LONG_S)
        since = told("all back after a cut", since, cut=cut)
        plan = {"instances": clients, "contacts": 50, "count": MESSAGES_EACH * clients, "rate_per_s": RATE_PER_S}
        sandbox.post("/load", **plan)
        until(lambda: sandbox.get("/load")["loads"][0]["done"], LONG_S)
        until(lambda: sandbox.get("/oracle/verdict")["lost_count"] == 0, LONG_S)
        told("all have their messages", since, verdict=sandbox.get("/oracle/verdict"))
    finally:
        for worker in workers:
            worker.close()
        sandbox.close()


def main() -> None:
    """Measure with as many clients as the command line says."""
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory(prefix="bridge-crowd-", dir=FOLDER, ignore_cleanup_errors=True) as folder:
        measure(clients, Path(folder))


if __name__ == "__main__":
    main()
