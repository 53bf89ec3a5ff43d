# SPDX-License-Identifier: GPL-2.0
"""All that is measured: build the contestants, boot the guests, and make figures of what they say."""

import platform
import re
import subprocess

from . import figures, guests, modules, text, work
from .. import kernel, paths, say, tree, variant


def contestants(step=say.Step):
    built = kernel.Kernel(tree.Tree(), variant.PLAIN)
    with step("contestants", log="bench.log") as running:
        modules.build(running, built)
    return built


def guest(what, one):
    with say.Step(what):
        return guests.run(one)


def short():
    """The instructions alone."""
    built = contestants(say.Quiet)
    said, _ = guests.run(guests.instructions("short"))
    return {
        "versions": versions(built),
        "instructions": figures.instructions(said),
        **work.measured(guests.run(guests.work())[0]),
    }


def everything():
    built = contestants()
    said, _ = guest("instructions", guests.instructions("count"))
    _, trace = guest("register accesses", guests.traced())
    several, _ = guest("several CPUs", guests.contended())
    works, _ = guest("work", guests.work())
    _, registers = guest("work: register accesses", guests.work_traced())
    found = {
        "versions": versions(built),
        "instructions": figures.instructions(said),
        **figures.bulk(said),
        **figures.allocator(said),
        "accesses": figures.accesses(trace),
        "contended": figures.contended(several),
        "memory": figures.memory(said),
        "text": text.measure(built),
        "masks": text.masks(),
        **work.measured(works, registers),
    }
    if paths.ACCEL == "kvm":
        found["time"] = figures.times(guest("time under KVM", guests.timed())[0])
    else:
        print("no KVM here: no times")
    found["core_growth"] = figures.core_growth(found)
    return found


def versions(built):
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]

    config = (built.dir / ".config").read_text()
    return {
        "kernel": re.search(r"Linux/\S+ (\S+) Kernel", config)[1],
        "compiler": re.search(r'CONFIG_CC_VERSION_TEXT="(.*)"', config)[1],
        "rustc": re.search(r'CONFIG_RUSTC_VERSION_TEXT="(.*)"', config)[1],
        "qemu": first_line("qemu-system-x86_64", "--version"),
        "machine": f"{platform.machine()}, {guests.MACHINE}",
        "optimized": "for size" if "CONFIG_CC_OPTIMIZE_FOR_SIZE=y" in config else "for performance",
        "helpers": "inlined" if "CONFIG_RUST_INLINE_HELPERS=y" in config else "called",
    }
