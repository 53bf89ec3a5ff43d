# SPDX-License-Identifier: GPL-2.0
"""The machines that guests run on: one interrupt-remapping situation each."""

import json

from . import paths, tsc

CACHING_VTD = ["-device", "intel-iommu,intremap=on,eim=on,caching-mode=on"]
AMDVI = ["-device", "amd-iommu,intremap=on"]

# kind: (QEMU's arguments, the kernel's arguments)
KINDS = {
    "vtd": (
        ["-device", "intel-iommu,intremap=on,eim=off,caching-mode=off"],
        "intel_iommu=off intremap=on nox2apic",
    ),
    "vtd-x2apic": (
        ["-device", "intel-iommu,intremap=on,eim=on,caching-mode=off"],
        "intel_iommu=off intremap=on",
    ),
    # A unit that says that it is emulated, and translates DMA as well.
    "vtd-dma": (CACHING_VTD, "intel_iommu=on iommu.strict=1 intremap=on"),
    # QEMU's always says so.
    "amdvi": (AMDVI, "iommu=pt intremap=on"),
    # Machines that do not grant message stores: the CPU says that there is a hypervisor, or the unit
    # says that it is emulated.
    "vtd-virt": (
        ["-device", "intel-iommu,intremap=on,eim=on,caching-mode=off"],
        "intel_iommu=off intremap=on",
    ),
    "vtd-caching": (CACHING_VTD, "intel_iommu=on iommu.strict=1 intremap=on"),
    "amdvi-virt": (AMDVI, "iommu=pt intremap=on"),
    "noremap": ([], ""),
}

# Those whose CPU says that there is a hypervisor. The others look like bare metal.
VIRTUAL = ("vtd-virt",)

# Those where a test module grants message stores, though the unit says that it is emulated.
GRANTED = ("vtd-dma", "amdvi")


def qemu(kind, memory, cpu="max", extra=(), accel=paths.ACCEL, cpus=paths.CPUS):
    """The machine without consoles, kernel and shares."""
    if accel == "kvm" and cpu == "max":
        cpu = "host"
    if kind not in VIRTUAL:
        cpu += ",-hypervisor"
    return [
        *("qemu-system-x86_64", "-machine", "q35,kernel-irqchip=split", "-accel", accel),
        *("-cpu", cpu, "-smp", str(cpus), "-m", memory),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *KINDS[kind][0],
        *extra,
    ]


def shares(root=paths.GUEST_ROOT):
    """Two read-only 9p trees: the root, and the clone's out/ that the guest sees as /mnt."""
    words = []
    for number, (tag, path) in enumerate((("/dev/root", root), ("out", paths.OUT))):
        fsdev = f"local,id=fs{number},path={path},security_model=none,readonly=on,multidevs=remap"
        words += ["-fsdev", fsdev, "-device", f"virtio-9p-pci,fsdev=fs{number},mount_tag={tag}"]
    return words


DISK_SIZE = 1 << 30  # bytes, of which a guest that hibernates fills what it has in use


def disk(path):
    """An empty disk to hibernate to."""
    with open(path, "wb") as file:
        file.truncate(DISK_SIZE)
    return ["-drive", f"if=virtio,format=raw,file={path}"]


# Devices that a guest can have: the program in out/ that models it, and its PCI ID.
DEVICES = {
    "dsa": ("dsa-model", "8086:0b25"),
    "queue": ("queue-model", "1af4:10f0"),
}


def program(device):
    return paths.OUT / DEVICES[device][0]


def check(device):
    """The command that checks, in the guest, that it has this machine and this device."""
    return f"sh guest/machine.sh {DEVICES[device][1]}"


# PCI slot of the first device model; further ones follow.
FIRST_SLOT = 0x08

# AMD-Vi is peculiar twice. Linux only remaps if 00:14.0 is what it is on real boards, an SMBus or an ISA
# bridge; and QEMU takes a message that a vfio-user device writes as coming from 00:14.0, wherever the
# device is. So the model sits there, with an SMBus controller's class.
AMD_SLOT = 0x14
SMBUS = 0x0C0500


def pci_slot(kind, number):
    """That of the device model of this number."""
    return AMD_SLOT if kind.startswith("amdvi") and number == 0 else FIRST_SLOT + number


def placed(kind, number, ports):
    """Where the device model of this number sits, as fields of QEMU's device."""
    if ports:
        return {"bus": f"port{number}"}
    fields = {"addr": f"{pci_slot(kind, number):#x}"}
    if kind.startswith("amdvi") and number == 0:
        fields["x-pci-class-code"] = SMBUS
    return fields


def model_device(kind, number, socket, ports=False):
    """QEMU's device for the model of this number."""
    address = {"type": "unix", "path": str(socket)}
    return {
        "driver": "vfio-user-pci",
        "id": f"model{number}",
        "socket": address,
        # After 5 seconds QEMU would take a model that a busy host has not let run for broken.
        "x-msg-timeout": 60_000,
        **placed(kind, number, ports),
    }


# The kernel has no driver for ACPI's hotplug: leave the ports to PCI Express's.
NATIVE_HOTPLUG = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]


# QEMU 11.1 aborts when a vfio-user device with MSI-X goes (it takes the PBA out of a BAR that is no
# more). Without a power controller the guest unplugs it all the same, and QEMU does not get to that.
KEPT = ("dsa",)


def ports(count, device):
    """Ports that devices can be unplugged from."""
    words = list(NATIVE_HOTPLUG)
    for number in range(count):
        fields = {"id": f"port{number}", "slot": number, "addr": f"{FIRST_SLOT + number:#x}"}
        if device in KEPT:
            fields["power_controller_present"] = False
        words += ["-device", json.dumps({"driver": "pcie-root-port", "chassis": 1, **fields})]
    return words


def devices(fields):
    return [word for each in fields for word in ("-device", json.dumps(each))]


def clock():
    """Left to itself, a guest on a busy host calibrates its clock to run tens of times too fast."""
    return f"tsc_early_khz={tsc.khz()}" if paths.ACCEL == "tcg" and tsc.khz() else ""


def kernel(kind, variant, append, image=None):
    p9 = "trans=virtio,version=9p2000.L,cache=loose,msize=262144"
    init = f"busybox mount -t 9p -o ro,{p9} out /mnt; exec /bin/sh /mnt/guest/init"
    # The timer check counts on time that passes: on a busy host the guest's may not. The watchdog of
    # the clocksources can wait with interrupts off while time still is jiffies: then it waits forever.
    line = (
        "console=ttyS0 loglevel=7 no_timer_check tsc=nowatchdog "
        f"root=/dev/root rootfstype=9p rootflags={p9} ro panic=-1 oops=panic "
        f"{KINDS[kind][1]} {clock()} {variant.append} {append} "
        f"ims.machine={kind} ims.kernel={variant.name} ims.slow={variant.slow} "
        f"{'ims.grant ' if kind in GRANTED else ''}"
        f'init=/bin/sh -- -c "{init}"'
    )
    return ["-kernel", str(image or variant.out / "bzImage"), "-append", line]
