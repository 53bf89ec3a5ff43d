# SPDX-License-Identifier: GPL-2.0
"""Progress and errors: [n/m] steps, commands whose output goes to a log, one clear failure."""

import errno
import os
import re
import subprocess
import sys
import time

from . import paths


class Failure(Exception):
    """What went wrong, in one line for the user; `excerpt` holds the log lines that show it."""

    def __init__(self, message, excerpt=()):
        super().__init__(message)
        self.excerpt = list(excerpt)


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Step:
    """One numbered step: a live line on a terminal, sparse lines elsewhere."""

    next = int(os.environ.get("IMS_STEP") or 1)
    total = int(os.environ.get("IMS_STEPS") or 0)

    def __init__(self, what, log=None):
        number = f"[{Step.next}/{max(Step.total, Step.next)}] " if Step.total else ""
        Step.next += 1
        self.title = number + what
        self.log = paths.LOG / log if log else None
        self.start = self.last = time.monotonic()
        self.live = sys.stdout.isatty() and not paths.VERBOSE
        self.result = "done"

    def elapsed(self):
        return time.monotonic() - self.start

    def __enter__(self):
        if self.log:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text("")
        print(self.title + " ...", end="" if self.live else "\n", flush=True)
        return self

    def show(self, state):
        now = time.monotonic()
        if now - self.last < (0.2 if self.live else 30):
            return
        self.last = now
        line = f"{self.title}: {state} ({clock(self.elapsed())})"
        print("\r\033[K" + line if self.live else line, end="" if self.live else "\n", flush=True)

    def __exit__(self, kind, error, trace):
        result = self.result if kind is None else "failed"
        line = f"{self.title}: {result} ({clock(self.elapsed())})"
        print("\r\033[K" + line if self.live else line, flush=True)

    def run(self, command, count=None, unit="lines", total=0, what=None, **options):
        """Run a command with its output in the log; `count` is a pattern to count on the way."""
        counted = 0
        of_all = f" of about {total}" if total else ""
        pattern = re.compile(count) if count else None
        lines = []
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("$ " + " ".join(map(str, command)) + "\n")
            log.flush()
            with subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                **options,
            ) as process:
                for line in process.stdout:
                    log.write(line)
                    lines.append(line)
                    if paths.VERBOSE:
                        print(line, end="", flush=True)
                    if pattern and pattern.search(line):
                        counted += 1
                        self.show(f"{counted}{of_all} {unit}")
        if process.returncode:
            raise Failure(
                f"{what or self.title.split('] ')[-1]} failed; log: {self.log}", excerpt(lines)
            )
        return lines, counted


class Quiet(Step):
    """A step that only its log tells of: for where results are printed."""

    def __enter__(self):
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        return self

    def show(self, state):
        pass

    def __exit__(self, kind, error, trace):
        pass


# Where the cause stands in a build's output; what follows is only make unwinding.
CAUSE = re.compile(r"(^|\W)(error(\[E\d+\])?:|undefined (reference|symbol)|No space left)", re.I)


def excerpt(lines, length=15):
    for index, line in enumerate(lines):
        if CAUSE.search(line):
            return lines[max(0, index - 2) : index + length]
    return lines[-length:]


def explain(error):
    """Print a failure the way all failures are printed."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        error = Failure(f"the disk is full: {error.filename or paths.CACHE}")
    for line in getattr(error, "excerpt", ()):
        print("  | " + line.rstrip(), file=sys.stderr)
    print(f"error: {error}", file=sys.stderr, flush=True)
