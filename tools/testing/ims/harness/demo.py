# SPDX-License-Identifier: GPL-2.0
"""make run: boot the guest with the device and show the main job as it happens."""

import re

from . import boot, say, variant

# Of the kernel's log only what concerns the driver.
DRIVER = re.compile(r"idxd_ims|IDXD-IMS")


def main():
    def show(source, line):
        if source == "guest" or source == "console" and DRIVER.search(line):
            print("  " + line, flush=True)

    with say.Step("guest: VT-d with x2APIC, and the device") as step:
        if step.live:
            print()
        step.live = False
        outcome = boot.run(boot.Boot("run", run=("sh guest/demo.sh",), model=(), kernel=variant.chosen()[0]), show)
        status = [command.status for command in outcome.commands]
        if outcome.problems or status != [0]:
            problems = outcome.problems or [f"guest/demo.sh ended with status {status}"]
            raise say.Failure(f"the demo failed; log: {outcome.log}", problems)
    return 0
