# SPDX-License-Identifier: GPL-2.0
"""The table of what `make check` runs. A new test is a new line here, or a new kselftest program."""

import dataclasses
import fnmatch
from collections.abc import Callable

from . import crate, crate_tests, lint, paths
from .boot import Boot
from .machine import FIRST_SLOT

# ---- guests: kselftests --------------------------------------------------------------------

# Each kselftest that `make install` put into out/selftests runs on each of these machines.
MACHINES = ("vtd", "vtd-x2apic", "amdvi")

# Programs that want another device than the default one of 256 slots, or another kernel line:
# program: fields of Boot. They get a guest of their own; the others share one per machine.
SPECIAL: dict[str, dict] = {
    # More interrupts than the CPUs have vectors. AMD-Vi's table has fewer entries.
    "exhaustion": {"machines": ("vtd", "vtd-x2apic"), "model": ("--slots", "2048")},
}


DEVICE = ("--slots", "256", "--pasid")
MACHINE_TEST = "sh guest/machine.sh"


def selftests():
    """Names of the installed programs of the collection `ims`."""
    listed = paths.OUT / "selftests/kselftest-list.txt"
    names = listed.read_text().split() if listed.exists() else []
    return [name.partition(":")[2] for name in names if name.startswith("ims:")]


def command(program):
    return f"cd selftests/ims; ./{program}"


def e2e():
    if not has_model():
        return
    for machine in MACHINES:
        own = {p for p, fields in SPECIAL.items() if machine in fields.get("machines", MACHINES)}
        common = [command(p) for p in selftests() if p not in own]
        yield Boot(f"e2e-{machine}", machine, (MACHINE_TEST, *common), DEVICE, deadline=240)
        for program in selftests():
            if program in own:
                words = {k: v for k, v in SPECIAL[program].items() if k != "machines"}
                yield Boot(
                    f"e2e-{machine}-{program}",
                    machine,
                    (MACHINE_TEST, command(program)),
                    **{"model": DEVICE, **words},
                )


# ---- guests: refusals, and the referee ------------------------------------------------------


# (the model's options, the error of the probe, what the log has to say)
REFUSALS = (
    ("--fault no-ims", -95, "the device has no message store"),
    ("--fault no-ims-dvsec", -95, "there is no message store"),
    ("--fault ims-table-beyond-bar", -5, "table does not fit BAR"),
    ("--fault ims-table-over-registers", -95, "the device has no message store"),
    ("--fault stuck-mask", -5, "cannot use the message store"),
    ("--fault cmd-error=13:0x41", -5, "RequestIntHandle failed with status 0x41"),
    ("--fault all-ones", -5, "does not respond"),
    ("--fault cmd-never-completes", -110, "does not complete"),
    ("--fault never-resets", -110, "does not complete"),
)
NO_REMAPPING = "need interrupt remapping"


def refusals():
    """The driver must decline these with one clear line each, and no WARN."""
    if has_driver():
        yield refusal("refusal-faults", "vtd-x2apic", REFUSALS)
        yield refusal("refusal-noremap", "noremap", [("", -95, NO_REMAPPING)])


def refusal(name, machine, cases):
    words = [f"{slot:02x} {error} {text}" for slot, (_, error, text) in enumerate(cases, FIRST_SLOT)]
    run = (MACHINE_TEST, "sh guest/refusal.sh " + " ".join(f"'{word}'" for word in words))
    devices = [tuple(options.split()) for options, _, _ in cases]
    return Boot(name, machine, run, devices[0], others=tuple(devices[1:]))


def referee():
    """The kernel's own C driver judges the device model."""
    if has_model():
        yield Boot(
            "referee",
            "vtd",
            ("sh guest/referee.sh modules",),
            ("--wqs", "4"),
            cpu="max,+movdir64b,x-force-features=on",
        )


# ---- guests: KUnit --------------------------------------------------------------------------

# Suites, and tests of the doctest suite, that are ours; the kernel's own count only if they fail.
KUNIT_SUITES = ("rust_kernel_msi*", "rust_kernel_ims*", "idxd_ims*")
KUNIT_DOCTESTS = (
    "rust_doctest_kernel_msi*",
    "rust_doctest_kernel_ims*",
    "rust_doctest_kernel_held*",
)


def kunit():
    """Built-in suites have run by the time of init; the module's run when it is loaded."""
    load = ("insmod modules/idxd_ims.ko",) if has_driver() else ()
    yield Boot("kunit", "vtd-x2apic", load, append="")


def is_our_kunit(suite, test):
    if suite == "rust_doctests_kernel":
        return any(fnmatch.fnmatch(test, glob) for glob in KUNIT_DOCTESTS)
    return any(fnmatch.fnmatch(suite, glob) for glob in KUNIT_SUITES)


# ---- the table ------------------------------------------------------------------------------


@dataclasses.dataclass
class Stage:
    """`results` yields Results as they come; `boots` yields Boots; one of the two."""

    name: str
    results: Callable | None = None
    boots: Callable | None = None
    kunit: bool = False  # results stand in the kernel's log


def has_model():
    return (crate.MODEL / "Cargo.toml").exists()


def has_driver():
    return (paths.OUT / "modules/idxd_ims.ko").exists()


STAGES = [
    Stage("lint", results=lint.run),
    Stage("model", results=crate_tests.run),
    Stage("kunit", boots=kunit, kunit=True),
    Stage("e2e", boots=e2e),
    Stage("refusal", boots=refusals),
    Stage("referee", boots=referee),
]
