# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness COMMAND: what runs inside the build root (see ../ims)."""

import os
import shlex
import signal
import sys

from . import (
    bench,
    boot,
    build,
    check,
    deb,
    demo,
    guest,
    machine,
    procs,
    say,
    series,
    series_check,
    stages,
    variant,
)


def model():
    """The device that a guest is to have, and its model's options: MODEL='[DEVICE] [OPTION...]'."""
    words = shlex.split(os.environ.get("MODEL", ""))
    device = words.pop(0) if words and not words[0].startswith("-") else "dsa"
    if device not in machine.DEVICES:
        raise say.Failure(f"there is no device '{device}', only {' and '.join(machine.DEVICES)}")
    return device, tuple(words)


def machine_kind():
    return os.environ.get("MACHINE") or "vtd-x2apic"


def kernel():
    return variant.chosen()[0]


COMMANDS = {
    "kernel": build.kernels_and_selftests,
    "model": build.models,
    "check": check.main,
    "soak": lambda: check.main(table=stages.SOAK_STAGES),
    "bench": bench.main,
    "run": demo.main,
    "boot": lambda: boot.interactive(machine_kind(), *model(), kernel(), os.environ.get("APPEND", "")),
    "guest": lambda: guest.main(machine_kind(), *model(), kernel()),
    "deb": deb.main,
    "series": series.main,
    "series-check": series_check.main,
    "lint": lambda: check.main(only="lint"),
}


def stop(*_):
    raise KeyboardInterrupt


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        return COMMANDS[sys.argv[1]]() or 0
    except KeyboardInterrupt:
        procs.stop_all()
        print("\nstopped", file=sys.stderr)
        return 130
    except (say.Failure, OSError) as error:
        procs.stop_all()
        say.explain(error)
        return 1


sys.exit(main())
