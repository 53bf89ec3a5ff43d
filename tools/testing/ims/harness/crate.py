# SPDX-License-Identifier: GPL-2.0
"""The crates of the host, the device models' and the model checks': build, test, lint, in the cache."""

import os

from . import lock, machine, paths, sync

MODEL = paths.BENCH / "model"
SOURCE = paths.CACHE / "model"

# Model checks of files of the kernel, at the same relative paths as in a clone.
LOOM = paths.BENCH / "loom"
CHECKED = [paths.REPO / name for name in ("rust/kernel/held/line.rs", "drivers/dma/idxd_ims/storm.rs")]
LOOM_TOP = paths.CACHE / "loom"
LOOM_SOURCE = LOOM_TOP / LOOM.relative_to(paths.REPO)


def locked():
    return lock.held(paths.CACHE / "model.lock", "the device models' build")


def lay():
    """At one path for all clones, with time stamps that tell cargo what changed."""
    sync.mirror(MODEL, SOURCE, sync.walk(MODEL))
    names = [*(LOOM / name for name in sync.walk(LOOM)), *CHECKED]
    sync.mirror(paths.REPO, LOOM_TOP, [name.relative_to(paths.REPO) for name in names])


def environment():
    env = {
        "CARGO_TARGET_DIR": str(paths.CACHE / "target"),
        "CARGO_TERM_COLOR": "never",
    }
    if paths.TOOLCHAIN == "root":
        env["CARGO_HOME"] = str(paths.CACHE / "cargo")
    return {**os.environ, **env}


def cargo(step, *words, what, cwd=SOURCE):
    command = ["cargo", *words]
    return step.run(
        command, cwd=cwd, env=environment(), count=r"^ *Compiling", unit="crates", what=what
    )[0]


def build(step):
    with locked():
        lay()
        cargo(step, "build", "--release", "--locked", what="building the device models")
        # The checks run without the network.
        cargo(step, "fetch", "--locked", what="fetching what the model checks need", cwd=LOOM_SOURCE)
        for device in machine.DEVICES:
            program = machine.program(device)
            sync.copy(paths.CACHE / "target/release" / program.name, program)
