"""Becomes another program that ends when its parent does. Run as a script, with nothing but the standard library.

Linux sends SIGTERM (for PostgreSQL: a shutdown that lets clients finish) when the *thread* that started this process is
gone, even after SIGKILL: engines that are leaving WhatsApp still decrypt what they have, and end in a moment.

That must be asked for by the child itself, and after the user id is dropped, for changing the id takes it back
(prctl(2), PR_SET_PDEATHSIG). `preexec_fn` could do it as well, but is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""All that the program is told; ours may hold secrets, and settings of other PostgreSQLs."""


def main(parent_pid: int, uid: int, gid: int, command: list[str]) -> None:
    """Drop to `uid` and `gid` (-1: stay), tie this process to its parent, and become `command`."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
            sys.exit("prctl failed")
        if os.getppid() != parent_pid:  # it died before we asked
            sys.exit("the parent is gone")
    os.execve(command[0], command, ENVIRONMENT)  # noqa: S606 -- the point of it: become the program, with no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
