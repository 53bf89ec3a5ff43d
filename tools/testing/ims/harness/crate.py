# SPDX-License-Identifier: GPL-2.0
"""The device models' crate: build it, test it, lint it, all in the cache."""

import os

from . import lock, machine, paths, sync

MODEL = paths.BENCH / "model"
SOURCE = paths.CACHE / "model"


def locked():
    return lock.held(paths.CACHE / "model.lock", "the device models' build")


def lay():
    """At one path for all clones, with time stamps that tell cargo what changed."""
    sync.mirror(MODEL, SOURCE, sync.walk(MODEL))


def environment():
    env = {
        "CARGO_TARGET_DIR": str(paths.CACHE / "target"),
        "CARGO_TERM_COLOR": "never",
    }
    if paths.TOOLCHAIN == "root":
        env["CARGO_HOME"] = str(paths.CACHE / "cargo")
    return {**os.environ, **env}


def cargo(step, *words, what):
    command = ["cargo", *words]
    return step.run(
        command, cwd=SOURCE, env=environment(), count=r"^ *Compiling", unit="crates", what=what
    )[0]


def build(step):
    with locked():
        lay()
        cargo(step, "build", "--release", "--locked", what="building the device models")
        for device in machine.DEVICES:
            program = machine.program(device)
            sync.copy(paths.CACHE / "target/release" / program.name, program)
