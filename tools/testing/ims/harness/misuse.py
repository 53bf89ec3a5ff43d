# SPDX-License-Identifier: GPL-2.0
"""Programs that misuse the kernel crate must not compile: see misuse/.

A comment `//~ TEXT` at the end of a line says that this line is an error with that text, such as
its code. A program must have exactly the errors that it says. One that says none must compile.
"""

import re

from . import kernel, paths, sync, tree, variant
from .tap import SKIP, Result, failed

SOURCE = paths.BENCH / "misuse"
OUT = paths.OUT / "misuse"

EXPECTED = re.compile(r"//~ (.+)$")
FOUND = re.compile(r"^(error(?:\[E\d+\])?: .*)\n +--> (?:\S*/)?(\w+)\.rs:(\d+):", re.M)


def run():
    if variant.PLAIN not in variant.chosen():
        yield Result("the plain kernel is not among those that are tested", SKIP)
        return
    programs = sorted(SOURCE.glob("*.rs"))
    log = compile_all([path.stem for path in programs])
    found = FOUND.findall(log)
    for path in programs:
        yield judge(path, {int(line): text for text, name, line in found if name == path.stem}, log)


def compile_all(names):
    """Each by itself, against the kernel that is built. Returns what the compiler said."""
    built = kernel.Kernel(tree.Tree(), variant.PLAIN)
    # Without the objects of the last time.
    sync.mirror(SOURCE, OUT, sync.walk(SOURCE))
    sync.write(OUT / "Kbuild", "".join(f"obj-m += {name}.o\n" for name in names).encode())
    done = kernel.captured(
        *built.make("--keep-going", f"M={OUT}", "KRUSTFLAGS=-Awarnings"),
        *(f"{name}.o" for name in names),
    )
    sync.write(paths.LOG / "misuse.log", done.stdout.encode())
    return done.stdout


def judge(path, errors, log):
    lines = enumerate(path.read_text().splitlines(), 1)
    expected = {number: said[1] for number, line in lines if (said := EXPECTED.search(line))}
    name = f"{path.stem} {'is refused' if expected else 'compiles'}"
    notes = []
    for number in sorted({*expected, *errors}):
        wanted, have = expected.get(number), errors.get(number)
        if not (wanted and have and wanted in have):
            notes.append(f"{path.name}:{number}: {have or 'no error'}, expected {wanted or 'none'}")
    if not expected and not errors and not (OUT / f"{path.stem}.o").exists():
        notes = ["not compiled", *log.splitlines()[-20:]]
    return failed(name, *notes) if notes else Result(name)
