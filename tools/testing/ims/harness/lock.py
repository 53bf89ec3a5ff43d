# SPDX-License-Identifier: GPL-2.0
"""Locks between runs: they live in the cache or the clone, and end with their process."""

import contextlib
import fcntl


@contextlib.contextmanager
def held(path, what):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run that uses {what}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
