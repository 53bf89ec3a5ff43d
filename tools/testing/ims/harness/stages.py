# SPDX-License-Identifier: GPL-2.0
"""The table of what `make check` runs. A new test is a new line here, or a new kselftest program."""

import dataclasses
from collections.abc import Callable
from pathlib import PurePath

from . import asleep, bench, builds, crate, crate_tests, isolation, lint, machine, misuse, package, paths
from .boot import Boot
from .variant import PLAIN, Variant

# ---- guests: kselftests --------------------------------------------------------------------

# Each kselftest that `make install` put into out/selftests runs on each machine of a kernel: see
# variant.py.

DEVICE = ("--slots", "256")
# It has commands for interrupt handles. They wait until the messages before them have been taken, as a read
# of a register does on a bus but not here: with them, counts are exact whatever is freed meanwhile.
VIRTUAL = ("--like", "virtual", "--slots", "256")

# In use before a kexec.
USED = ("--starts-unmasked",)

FORGETFUL = {"model": (*DEVICE, "--d3-resets"), "qemu": asleep.LOG, "check": asleep.problems}

# Programs that want another device than the default one of 256 slots, or another kernel line:
# program: fields of Boot, and on which kernels and with which module it runs. They get a guest of
# their own; the others share two per machine.
SPECIAL: dict[str, dict] = {
    # More interrupts than the CPUs have vectors, or AMD-Vi's remapping table has entries.
    # The device's own reset does not mask the slots.
    "exhaustion": {
        "model": ("--slots", "2048", "--reset-keeps-interrupts", *USED),
        "deadline": 240,
    },
    # Two devices that are unplugged. On PREEMPT_RT whoever asks pciehp for that through sysfs waits for
    # ever: irq_wake_thread() wakes the thread of pciehp_isr(), which sees no event and wakes nobody.
    "unplug.sh": {"ports": True, "others": (DEVICE,), "deadline": 240, "kernels": ("plain", "debug")},
    "aer.sh": {"ports": True},
    # One that forgets in D3hot what it was told.
    "reset": FORGETFUL,
    # It has more slots than two CPUs have vectors. It hibernates, too: another kernel boots, and restores
    # the one before. Without PM_SLEEP nothing sleeps.
    "suspend": {
        **FORGETFUL,
        "model": ("--slots", "512", "--pasid", "--d3-resets"),
        "sleeps": True,
        "boots": 2,
        "deadline": 240,
        "kernels": ("plain", "debug", "rt", "cfi"),
    },
    # Each allocation fails once, on the kernel that can have it fail.
    "fail": {"model": VIRTUAL, "kernels": ("debug",), "deadline": 600},
    "fail_queue": {
        "kernels": ("debug",),
        "device": "queue",
        "model": USED,
        "module": "rust_driver_ims",
        "deadline": 300,
    },
    # Files for all slots of the default device, and vectors for many of them.
    "many": {"model": ("--slots", "2048"), "cpus": 8, "deadline": 420},
    # The sample driver, for the device that keeps its messages in memory.
    "queue.sh": {"device": "queue", "model": USED, "module": "rust_driver_ims", "deadline": 240},
    # It takes as long as it takes.
    "soak": {"model": VIRTUAL, "deadline": 420},
}


# Programs that do not run on each machine: what they test does not depend on how the CPU's APIC works.
ONLY_ON = {name: ("vtd-x2apic", "amdvi") for name in ("fuzz", "irqbalance.sh", "many", "quota.sh", "soak")}
ONLY_ON |= {name: ("vtd-x2apic",) for name in ("aer.sh", "fail", "fail_queue", "surprise", "unplug.sh")}


# Those that count how often a handler runs.
THREADED = {"affinity", "deliver", "eventfd", "mask"}
# Those that a device makes a difference to which has commands for interrupt handles.
HANDLES = {"abi", "errors", "eventfd", "lifecycle", "mask", "owner", "private", "recover", "unbind"}
# Those for devices of a later version.
LATER = {"deliver", "lifecycle", "mask", "params.sh", "recover", "work"}
# The part of the soak that submits items.
SOAK_ITEMS = "soak -t conserves_items"
# Allocations of calls that submit items fail: not on a device with commands for interrupt handles.
FAIL_ITEMS = "fail -v register_memory -v unregister_memory -v work"
# Those that submit items: the device may have short transfers, or translation of addresses.
ITEMS = {"buffers", "inflight", "work"}


def selftests():
    """Names of the installed programs of the collection `ims`."""
    listed = paths.OUT / "selftests/kselftest-list.txt"
    names = listed.read_text().split() if listed.exists() else []
    return [name.partition(":")[2] for name in names if name.startswith("ims:")]


def command(program, module=None):
    sample = f"IMS_SAMPLE_MODULE=/mnt/modules/{module}.ko " if module else ""
    # The C programs have deadlines of their own.
    deadline = "timeout -k 5 $((200 * IMS_SLOW)) " if program.endswith(".sh") else ""
    return f"cd selftests/ims; {sample}{deadline}./{program}"


def e2e(kernel):
    if not has_model():
        return
    for kind in kernel.machines:
        here = [p for p in selftests() if kind in ONLY_ON.get(p, kernel.machines)]
        common = [p for p in here if p not in SPECIAL]
        model = (*DEVICE, *exact(kind))
        # Two guests, as two run at a time: the programs, and what drives them and Debian's from shell.
        for name, scripts in (("programs", False), ("scripts", True)):
            run = [command(p) for p in common if p.endswith(".sh") == scripts]
            if run:
                yield Boot(f"e2e-{kind}-{name}", kind, (machine.check("dsa"), *run), model, deadline=420)
        if kernel == PLAIN and kind == "vtd-x2apic":
            # Handlers are threads.
            run = (machine.check("dsa"), *map(command, sorted(THREADED.intersection(common))))
            append = f"{Boot.append} threadirqs"
            yield Boot(f"e2e-{kind}-threadirqs", kind, run, VIRTUAL, append=append, deadline=240)
            run = (machine.check("dsa"), *map(command, sorted(HANDLES.intersection(common))))
            yield Boot(f"e2e-{kind}-handles", kind, run, VIRTUAL, deadline=240)
            # Later devices, with other tables and capabilities.
            for like in ("2.0", "3.0"):
                run = (machine.check("dsa"), *map(command, sorted(LATER.intersection(common))))
                model = (*DEVICE, "--like", like, "--device-id", "0b25")
                yield Boot(f"e2e-{kind}-like-{like}", kind, run, model, deadline=240)
            run = (machine.check("dsa"), *map(command, sorted(ITEMS.intersection(common))))
            model = (*DEVICE, "--max-xfer-shift", "13")
            yield Boot(f"e2e-{kind}-split", kind, run, model, deadline=240)
        if kernel == PLAIN and kind == "vtd-dma":
            # The other guests of this kind have a device that takes no items. With this one, a read does not
            # wait for the messages before it, which it would on a bus.
            run = (machine.check("dsa"), *map(command, sorted(ITEMS.intersection(common))))
            yield Boot(f"e2e-{kind}-items", kind, run, DEVICE, deadline=240, late=True)
        if "soak" in here:
            # Where it counts messages, no items can be submitted.
            run = (machine.check("dsa"), command(SOAK_ITEMS))
            yield Boot(f"e2e-{kind}-soak-items", kind, run, DEVICE, deadline=240)
        if "fail" in here and kernel.name in SPECIAL["fail"]["kernels"]:
            run = (machine.check("dsa"), command(FAIL_ITEMS))
            yield Boot(f"e2e-{kind}-fail-items", kind, run, DEVICE, deadline=300)
        for program in here:
            if program in SPECIAL and kernel.name in SPECIAL[program].get("kernels", (kernel.name,)):
                yield from special(kernel, kind, program)


def exact(kind):
    """With translation on, the kernel reports messages that come late."""
    return ("--like", "virtual") if kind == "vtd-dma" else ()


def special(kernel, kind, program):
    words = {"model": DEVICE, "device": "dsa", **SPECIAL[program]}
    words.pop("kernels", None)
    module = words.pop("module", None)
    if module and not has_module(kernel, module):
        return
    run = (machine.check(words["device"]), command(program, module))
    if words["device"] == "dsa" and "--like" not in words["model"]:
        words["model"] = (*words["model"], *exact(kind))
    yield Boot(f"e2e-{kind}-{PurePath(program).stem}", kind, run, **words)


# ---- guests: the long ones, of make soak -----------------------------------------------------


def soak(_):
    """Messages sent are interrupts handled, items accepted complete, and calls at random do no harm."""
    programs = (
        ("", "soak", VIRTUAL),
        ("-items", SOAK_ITEMS, DEVICE),
        ("-fuzz", "fuzz", DEVICE),
    )
    numbers = f"SOAK={paths.SOAK} ITERATIONS={paths.SOAK} SEED={paths.SEED}"
    # That of a machine that is very busy.
    deadline = 300 + paths.SOAK // 150
    for kind in ONLY_ON["soak"]:
        for name, program, model in programs:
            run = (machine.check("dsa"), f"cd selftests/ims; {numbers} ./{program}")
            yield Boot(f"soak-{kind}{name}", kind, run, model, deadline=deadline)


# ---- guests: refusals, and the referee ------------------------------------------------------


# (the model's options, the error of the probe, what the log has to say)
REFUSALS = (
    ("--fault no-ims", -95, "the device has no message store"),
    ("--fault no-ims-dvsec", -95, "there is no message store"),
    ("--fault ims-table-beyond-bar", -5, "message store: beyond BAR 0"),
    ("--fault ims-table-over-registers", -5, "work queue table and message store: in the same place of BAR 0"),
    ("--fault ims-table-over-msix", -5, "message store and MSI-X table: in the same place of BAR 0"),
    ("--fault stuck-mask", -5, "cannot use the message store"),
    ("--fault cmd-error=6:0x41", -5, "EnableWq failed with status 0x41"),
    ("--fault all-ones", -5, "does not respond"),
    ("--fault cmd-silent", -5, "EnableDevice sent no interrupt"),
    ("--fault cmd-never-completes", -110, "does not complete"),
    ("--fault never-resets", -110, "does not complete"),
)
NO_REMAPPING = "need interrupt remapping"
NO_SOURCE_ID = "kunit.enable=0 intremap=nosid"

# Devices that are not for the driver: one without BAR 2, and one whose BARs could hold a DSA.
FOREIGN = {"1c": "edu", "1d": "bochs-display"}

# Of the sample driver, by what its probe fails with; its words are its own.
SAMPLE_REFUSALS = (
    ("--fault all-ones", -5),
    ("--fault no-magic", -5),
    ("--fault update-never-completes", -110),
)


def refusals(kernel):
    """Devices that the drivers must decline with one clear line each, or that fail later; no WARN."""
    if has_module(kernel, "idxd_ims"):
        yield refusal("refusal-faults", "vtd-x2apic", REFUSALS)
        for kind in ("noremap", "vtd-virt", "vtd-caching", "amdvi-virt"):
            yield refusal(f"refusal-{kind}", kind, [("", -95, NO_REMAPPING)])
        yield refusal("refusal-nosid", "vtd-x2apic", [("", -95, NO_REMAPPING)], append=NO_SOURCE_ID)
        run = (machine.check("dsa"), f"sh guest/foreign.sh {' '.join(FOREIGN)}")
        qemu = [word for slot, name in FOREIGN.items() for word in ("-device", f"{name},addr=0x{slot}")]
        yield Boot("refusal-foreign", "vtd-x2apic", run, DEVICE, qemu=tuple(qemu))
        run = (machine.check("dsa"), "sh guest/handles.sh")
        yield Boot("refusal-handles", "vtd-x2apic", run, (*VIRTUAL, "--fault", "handle-limit=2"))
    if has_module(kernel, "rust_driver_ims"):
        yield refusal("refusal-queue", "vtd-x2apic", SAMPLE_REFUSALS, "queue", "refusal-queue.sh")
        run = (machine.check("queue"), "sh guest/queue-failing.sh")
        model = ("--fault", "update-error-after=12")
        yield Boot("refusal-queue-later", "vtd-x2apic", run, model, device="queue")


def refusal(name, kind, cases, device="dsa", script="refusal.sh", **fields):
    words = []
    for number, (_, *wanted) in enumerate(cases):
        slot = machine.pci_slot(kind, number)
        words.append(" ".join([f"{slot:02x}", *map(str, wanted)]))
    run = (machine.check(device), f"sh guest/{script} " + " ".join(f"'{word}'" for word in words))
    devices = [tuple(options.split()) for options, *_ in cases]
    return Boot(name, kind, run, devices[0], others=tuple(devices[1:]), device=device, **fields)


# ---- guests: hostile devices ------------------------------------------------------------------

CHAOS_SEEDS = 50
CHAOS_SHAPE = ("--slots", "256", "--wqs", "2")
# So many in one guest. There is room for 23 on the bus.
CHAOS_DEVICES = 20


def chaos(kernel, count=CHAOS_SEEDS, first=1):
    """Devices that lie and misbehave, each in ways of its own that its seed draws."""
    if not has_module(kernel, "idxd_ims"):
        return
    for start in range(first, first + count, CHAOS_DEVICES):
        seeds = range(start, min(start + CHAOS_DEVICES, first + count))
        shape = (*CHAOS_SHAPE, "--like", ("spr", "virtual")[start // CHAOS_DEVICES % 2])
        devices = [("--chaos", str(seed), *shape) for seed in seeds]
        run = "bash guest/chaos.sh " + " ".join(map(str, seeds))
        model = f"--chaos SEED {' '.join(shape)}"
        replay = f"make guest KERNELS={kernel.name} MODEL='{model}' CMD='bash guest/chaos.sh SEED'"
        yield Boot(
            f"chaos-{seeds[0]}-{seeds[-1]}",
            run=(machine.check("dsa"), run),
            model=devices[0],
            others=tuple(devices[1:]),
            deadline=300,
            replay=replay,
        )


MOVDIR64B = "max,+movdir64b,x-force-features=on"


def referee(_):
    """The kernel's own C driver judges the device model, and shares the device with ours."""
    if has_model():
        yield Boot(
            "referee",
            "vtd",
            ("sh guest/referee.sh modules",),
            ("--wqs", "4"),
            cpu=MOVDIR64B,
        )
        yield Boot(
            "referee-vfio",
            "vtd-dma",
            (machine.check("dsa"), "sh guest/vfio.sh"),
            ("--max-xfer-shift", "12"),
            append=f"{Boot.append} vfio_pci.disable_denylist=1",
            memory="4G",
            faults=True,
        )
        yield Boot("referee-handover", "vtd", ("sh guest/handover.sh",), ("--wqs", "4"), cpu=MOVDIR64B)
        yield Boot("referee-coexist", "vtd", ("sh guest/coexist.sh",), (), others=((),), cpu=MOVDIR64B)
        # What an owner of hardware runs.
        yield Boot("owner", "vtd-x2apic", ("sh guest/owner.sh",), ())


# ---- guests: the life of a system ----------------------------------------------------------------


def life(_):
    """A kernel ends while the device is in use, and another one boots."""
    if not has_model():
        return
    for kind in ("vtd-x2apic", "amdvi"):
        yield next_kernel(kind, "kexec")
        yield next_kernel(kind, "crash", append=f"{Boot.append} crashkernel=256M")
    yield next_kernel("vtd-x2apic", "reboot")
    yield next_kernel("vtd-x2apic", "restart")
    # QEMU ends, the model stays.
    yield next_kernel("vtd-x2apic", "off", model=(*VIRTUAL, "--keep"), starts=2)


def next_kernel(kind, how, model=VIRTUAL, **fields):
    """The unit records the fault of a message that comes late, and the next kernel finds it."""
    run = (f"sh guest/next-kernel.sh {how}",)
    return Boot(f"life-{kind}-{how}", kind, run, model, boots=2, **fields)


# ---- guests: isolation ----------------------------------------------------------------------


def isolated(kernel):
    """The remapping entries of the message store's interrupts are for their device only."""
    if has_module(kernel, "idxd_ims"):
        run = (machine.check("dsa"), "sh guest/isolation.sh")
        for kind in ("vtd", "vtd-x2apic"):
            yield Boot(f"isolation-{kind}", kind, run, DEVICE, qemu=isolation.TRACE, check=isolation.problems)


# ---- guests: the core --------------------------------------------------------------------------


def core(kernel):
    """What patches/ changes, without the library."""
    # A vector that is freed while an interrupt of it is pending.
    yield Boot("vectors", run=("sh guest/module.sh vectors 12",))
    # The message store of a driver in C.
    if has_model():
        yield Boot("store", run=("sh guest/module.sh store 2",), model=())
    if has_module(kernel, "idxd_ims"):
        yield Boot("quiet", run=("sh guest/quiet.sh",), model=DEVICE, append=EIGHT, cpus=8)


EIGHT = "kunit.enable=0 isolcpus=2-7 irqaffinity=0-1"


# ---- guests: KUnit --------------------------------------------------------------------------

def kunit(_):
    """The suites have run by the time of init."""
    yield Boot("kunit", "vtd-x2apic", append="")


# ---- the table ------------------------------------------------------------------------------


@dataclasses.dataclass
class Stage:
    """`results` yields Results as they come; `boots`, given a kernel, yields Boots; one of the two."""

    name: str
    results: Callable | None = None
    boots: Callable | None = None
    kunit: bool = False  # results stand in the kernel's log
    all_kernels: bool = True  # or the plain one only
    kernel: Variant = PLAIN
    live: bool = False  # what the guests say of their progress is shown


def has_model():
    return (crate.MODEL / "Cargo.toml").exists()


def has_module(kernel, name):
    return (kernel.out / f"modules/{name}.ko").exists()


STAGES = [
    Stage("lint", results=lint.run),
    Stage("model", results=crate_tests.run),
    Stage("misuse", results=misuse.run),
    Stage("package", results=package.run),
    Stage("kunit", boots=kunit, kunit=True),
    Stage("core", boots=core),
    Stage("e2e", boots=e2e),
    Stage("refusal", boots=refusals),
    Stage("chaos", boots=chaos),
    Stage("life", boots=life, all_kernels=False),
    Stage("isolation", boots=isolated, all_kernels=False),
    Stage("referee", boots=referee, all_kernels=False),
    Stage("bench", results=bench.check),
]

# Takes as long as another kernel.
if "builtin" in paths.KERNELS:
    STAGES.append(Stage("builds", results=builds.run))

# Of make soak.
SOAK_STAGES = []
if paths.SOAK:
    SOAK_STAGES.append(Stage("soak", boots=soak, live=True))
if paths.CHAOS:
    SOAK_STAGES.append(Stage("chaos", boots=lambda kernel: chaos(kernel, paths.CHAOS)))
