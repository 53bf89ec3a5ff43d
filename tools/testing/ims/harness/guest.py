# SPDX-License-Identifier: GPL-2.0
"""make guest CMD=...: one boot, one command, its output and a verdict."""

import os

from . import boot, say


def main(kind, model):
    command = os.environ.get("CMD") or "sh guest/machine.sh"
    outcome = boot.run(
        boot.Boot(
            "guest", kind, (command,), model, append=f"kunit.enable=0 {os.environ.get('APPEND', '')}"
        ),
        lambda source, line: print(line, flush=True) if source == "guest" else None,
    )
    if outcome.problems:
        raise say.Failure(f"the guest failed; log: {outcome.log}", outcome.problems)
    return outcome.commands[0].status
