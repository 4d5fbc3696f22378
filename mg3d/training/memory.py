"""Memory on a CPU: keep freed blocks in the process, and measure peak memory.

By default glibc returns large freed blocks to the system at once, and every training step spends
time to get them again, page by page. Keeping them saves that time without a higher peak.
"""

import ctypes
import sys
from pathlib import Path

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # bytes; glibc refuses more
_KEEP_ALL = 2**31 - 1

_STATUS = Path("/proc/self/status")


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory in this process; True if it accepts the settings.

    Has no effect without Linux and glibc. The environment variables `MALLOC_MMAP_THRESHOLD_` and
    `MALLOC_TRIM_THRESHOLD_` do the same for a whole shell.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, _KEEP_ALL))


def peak_memory_gb() -> float:
    """Peak resident memory of this process so far, in GB (10^9 bytes); 0.0 if unknown."""
    try:  # not `resource` on Linux: its peak includes that of the parent process before exec
        (line,) = (x for x in _STATUS.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e9
    except (OSError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1.0 if sys.platform == "darwin" else 1024.0) / 1e9
