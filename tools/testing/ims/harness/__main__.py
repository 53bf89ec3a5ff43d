# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness COMMAND: what runs inside the build root (see ../ims)."""

import os
import shlex
import signal
import sys

from . import boot, build, check, demo, guest, procs, say


def model_options():
    return tuple(shlex.split(os.environ.get("MODEL", "")))


def machine_kind():
    return os.environ.get("MACHINE") or "vtd-x2apic"


COMMANDS = {
    "kernel": build.kernel_and_selftests,
    "model": build.model,
    "check": check.main,
    "run": demo.main,
    "boot": lambda: boot.interactive(machine_kind(), model_options(), os.environ.get("APPEND", "")),
    "guest": lambda: guest.main(machine_kind(), model_options()),
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
