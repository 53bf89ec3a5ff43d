# SPDX-License-Identifier: GPL-2.0
"""Processes that must not outlive the bench, however it ends."""

import subprocess
import threading

RUNNING = set()
STOPPING = threading.Event()


def start(command, **options):
    """Start a process that the kernel kills should the bench die without a chance to."""
    if STOPPING.is_set():
        raise InterruptedError("the bench is stopping")
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], **options)
    RUNNING.add(process)
    return process


def stop(process, grace=2):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    RUNNING.discard(process)


def stop_all():
    STOPPING.set()
    for process in list(RUNNING):
        process.kill()
        process.wait()
