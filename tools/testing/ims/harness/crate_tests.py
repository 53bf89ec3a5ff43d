# SPDX-License-Identifier: GPL-2.0
"""The device models' own tests, and the model checks: cargo test, one result a test."""

import re
import subprocess

from . import crate
from .tap import FAIL, OK, SKIP, Result, failed

LINE = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)")
STATE = {"ok": OK, "FAILED": FAIL, "ignored": SKIP}


def run():
    with crate.locked():
        crate.lay()
        yield from tests(crate.SOURCE)
        yield from tests(crate.LOOM_SOURCE)


def tests(source):
    with subprocess.Popen(
        ["cargo", "test", "--locked", "--no-fail-fast"],
        cwd=source,
        env=crate.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        lines, bad = [], 0
        for line in process.stdout:
            lines.append(line.rstrip())
            found = LINE.match(line)
            if found:
                result = Result(found[1], STATE[found[2]])
                bad += result.status == FAIL
                yield result
    # A test binary that does not build, or dies, has no FAILED line of its own.
    if process.returncode and not bad:
        yield failed("cargo test", *lines[-30:])
    elif bad:
        start = next((i for i, line in enumerate(lines) if line == "failures:"), len(lines))
        yield failed("cargo test: details of the failures", *lines[start : start + 60])
