# SPDX-License-Identifier: GPL-2.0
"""Turns the outcome of a guest into results: KTAP of its commands, KUnit and splats of its log."""

import fnmatch
import re

from . import tap
from .tap import FAIL, SKIP, Result, failed

KSFT_SKIP = 4

# Suites, and tests of the doctest suite, that are ours or of what we change; others count only if they
# fail.
KUNIT_SUITES = ("rust_kernel_ims*", "rust_kernel_eventfd*", "irq_test_cases")
KUNIT_DOCTESTS = (
    "rust_doctest_kernel_msi*",
    "rust_doctest_kernel_ims*",
    "rust_doctest_kernel_held*",
    "rust_doctest_kernel_sysfs*",
)


def judge(outcome, kunit=False):
    """A guest's outcome as a Result: what its commands reported, and that nothing else went wrong."""
    whole = Result(outcome.boot.name)
    if kunit:
        whole.parts += kunit_results(outcome.console)
        whole.parts += [failed(one.text, *one.lines) for one in outcome.commands if one.status]
    else:
        for text in outcome.boot.run:
            whole.parts.append(command_result(text, outcome))
    sound = Result("guest ran to its end, clean log")
    if outcome.problems:
        sound = failed(sound.name, *outcome.problems, f"log: {outcome.log}")
    whole.parts.append(sound)
    whole.notes.append(f"{outcome.boot.name}: {outcome.seconds:.1f} s")
    if whole.settle().status == FAIL and outcome.boot.replay:
        bad = " ".join(leaf.name for leaf in whole.leaves() if leaf.status == FAIL)
        for seed in re.findall(r"seed (\d+)", bad) or ["SEED"]:
            whole.notes.append("again: " + outcome.boot.replay.replace("SEED", seed))
    return whole


def command_result(text, outcome):
    """A program's KTAP as a Result, with what its end and its exit status add to that."""
    known = re.search(r"(?:\./|guest/)([\w.-]+)", text)
    name = known[1] if known else text
    command = next((one for one in outcome.commands if one.text == text), None)
    if command is None:
        return failed(name, "not reached")
    if command.status == KSFT_SKIP and not any("ok " in line for line in command.lines):
        return Result(name, SKIP, command.lines[-3:])
    result = tap.parse(command.lines, name)
    if command.status is None:
        result.parts.append(failed("runs to its end", *command.lines[-10:]))
    elif command.status and result.status != FAIL and (result.status, command.status) != (SKIP, KSFT_SKIP):
        result.parts.append(failed("exit status", f"{command.status}", *command.lines[-10:]))
    return result.settle()


def kunit_results(console):
    whole = tap.parse(console, "kunit")
    for suite in whole.parts:
        suite.parts = [
            test for test in suite.parts if test.status == FAIL or is_our_kunit(suite.name, test.name)
        ]
    ours = [suite for suite in whole.parts if suite.parts or suite.status == FAIL]
    return ours or [failed("KUnit suites of ours run", "none in the kernel's log")]


def is_our_kunit(suite, test):
    if suite == "rust_doctests_kernel":
        return any(fnmatch.fnmatch(test, glob) for glob in KUNIT_DOCTESTS)
    return any(fnmatch.fnmatch(suite, glob) for glob in KUNIT_SUITES)
