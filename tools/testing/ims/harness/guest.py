# SPDX-License-Identifier: GPL-2.0
"""make guest CMD=...: one boot, one command, its output and a verdict."""

import os

from . import boot, machine, say


def main(kind, device, model, kernel):
    command = os.environ.get("CMD") or machine.check(device)
    append = f"kunit.enable=0 {os.environ.get('APPEND', '')}"
    outcome = boot.run(
        boot.Boot("guest", kind, (command,), model, device=device, kernel=kernel, append=append),
        lambda source, line: print(line, flush=True) if source == "guest" else None,
    )
    if outcome.problems:
        raise say.Failure(f"the guest failed; log: {outcome.log}", outcome.problems)
    return outcome.commands[0].status
