"""An S3-compatible server (moto) as a process of its own, with one bucket."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from bridge.media.bucket import Bucket

START_S = 60.0
BUCKET = "bridge-media"


@contextmanager
def running_s3() -> Iterator[Bucket]:
    """Run the server and yield how to reach its bucket."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.tied", sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _make_bucket(endpoint, time.monotonic() + START_S)
        yield Bucket(f"s3://{BUCKET}/some/prefix", endpoint, access_key="test", secret_key="test")
    finally:
        server.kill()
        server.wait()


def _make_bucket(endpoint: str, deadline: float) -> None:
    while True:
        try:
            answer = httpx2.put(f"{endpoint}/{BUCKET}", trust_env=False, timeout=10)
        except httpx2.TransportError:
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.1)
            continue
        assert answer.status_code == 200, answer.text
        return
