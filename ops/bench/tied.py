"""Becomes another program that gets SIGTERM when its parent is gone: a bench that is killed leaves nothing behind.

Linux means the *thread* that started it, so start it from the main one, and never through a worker thread.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
