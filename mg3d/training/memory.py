"""Memory on a CPU: keep freed blocks, and say how much was used at most.

By default glibc gives large freed blocks back to the system at once, and every training step pays
to get them again, page by page. Telling it to keep them saves that time and costs no extra peak.
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
    """Ask the C library to keep freed memory for this process; True if it agreed.

    Works on Linux with glibc, does nothing elsewhere. The same can be had for a whole shell with
    `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_`.
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
    """Most memory this process has held so far, in GB (10^9 bytes); 0.0 where it is not known."""
    try:  # Linux: what `resource` gives there starts with the peak of the program that started us
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
