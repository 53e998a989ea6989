"""What the kernel knows of a process."""

from pathlib import Path


def kilobytes(pid: int, name: str) -> int:
    """Return a figure of a process's memory: `VmRSS` is what it has, `VmHWM` the most that it ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name + ":")).split()[1])


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or only waits for its parent to hear of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
