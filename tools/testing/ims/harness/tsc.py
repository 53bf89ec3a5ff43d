# SPDX-License-Identifier: GPL-2.0
"""The rate of this machine's time stamp counter, which under TCG is the guest's, too."""

import ctypes
import functools
import mmap
import platform
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
CODE = bytes.fromhex("0f31 48c1e220 4809d0 c3")
INTERVAL = 0.2  # seconds


@functools.cache
def khz():
    """None if it cannot be told."""
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(CODE)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def sample():
        """Time and counter, of the reading that took the least time."""
        readings = [(time.perf_counter_ns(), read(), time.perf_counter_ns()) for _ in range(20)]
        before, counter, after = min(readings, key=lambda reading: reading[2] - reading[0])
        return (before + after) / 2, counter

    start, first = sample()
    time.sleep(INTERVAL)
    end, last = sample()
    return round((last - first) * 1e6 / (end - start))
