"""Tells on stderr how far the bench is; stdout is for the table."""

import sys
import time

_began = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", file=sys.stderr, flush=True)
