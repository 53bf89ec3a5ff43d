# SPDX-License-Identifier: GPL-2.0
"""Test results: a tree of them, printed as KTAP; the kernel's own parser reads what guests print."""

import dataclasses
import importlib
import sys

from . import paths

OK, FAIL, SKIP = "ok", "not ok", "skip"


@dataclasses.dataclass
class Result:
    name: str
    status: str = OK
    notes: list = dataclasses.field(default_factory=list)
    parts: list = dataclasses.field(default_factory=list)
    reason: str = ""  # of a skip

    def settle(self):
        """A parent is as bad as its worst part; one with all parts skipped is skipped."""
        if self.parts and self.status != FAIL:
            states = [part.status for part in self.parts]
            if FAIL in states:
                self.status = FAIL
            elif all(state == SKIP for state in states):
                self.status = SKIP
        return self

    def leaves(self):
        if not self.parts:
            return [self]
        return [leaf for part in self.parts for leaf in part.leaves()]


def failed(name, *notes):
    return Result(name, FAIL, list(notes))


def emit(result, number, depth=0, with_parts=True):
    pad = "    " * depth
    if with_parts and result.parts:
        print(f"{pad}    KTAP version 1\n{pad}    1..{len(result.parts)}")
        for index, part in enumerate(result.parts, 1):
            emit(part, index, depth + 1)
    for line in "\n".join(result.notes).splitlines():
        print(f"{pad}# {line}")
    word = FAIL if result.status == FAIL else "ok"
    skip = f" # SKIP {result.reason}".rstrip() if result.status == SKIP else ""
    print(f"{pad}{word} {number} {result.name}{skip}", flush=True)


def parse(lines, name):
    """What a guest printed, as a Result, by way of the kernel's kunit_parser.py."""
    folder = str(paths.OUT / "kunit")
    if folder not in sys.path:
        sys.path.append(folder)
    parser = importlib.import_module("kunit_parser")
    printer = importlib.import_module("kunit_printer")
    errors = []
    quiet = printer.Printer(print=False)
    quiet.print_with_timestamp = lambda text: errors.append(text) if "[ERROR]" in text else None
    test = parser.parse_run_tests(lines, quiet)
    test.name = name
    result = convert(test, parser.TestStatus)
    for error in errors:
        result.parts.append(failed("valid KTAP", error))
    return result.settle()


def convert(test, status):
    known = {status.SUCCESS: OK, status.SKIPPED: SKIP}
    result = Result(test.name or "(test without a result)", known.get(test.status, FAIL))
    result.reason = test.skip_reason
    result.parts = [convert(part, status) for part in test.subtests]
    if result.status == FAIL and not result.parts:
        result.notes = [line.lstrip("# ").rstrip() for line in test.log[-20:]]
        if test.status not in (status.FAILURE,):
            result.notes.append(test.status.name.lower())
    return result
