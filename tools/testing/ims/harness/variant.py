# SPDX-License-Identifier: GPL-2.0
"""The kernels that tests run on: what each is made from, and what that means for a guest."""

import dataclasses

from . import paths


@dataclasses.dataclass(frozen=True)
class Variant:
    name: str
    fragment: str | None = None  # what it has on top of kernel.config
    slow: int = 1  # how many times longer everything may take, here and in the guest
    memory: str = "1G"
    append: str = ""  # to the kernel's command line
    after: tuple = ()  # what each guest runs last
    machines: tuple = ("vtd", "vtd-x2apic", "vtd-dma", "amdvi")  # those that kselftests run on

    @property
    def out(self):
        """What guests need of it."""
        return paths.OUT / self.name

    @property
    def config(self):
        """Fragments, each with precedence over those before."""
        names = ["kernel.config"] + ([self.fragment] if self.fragment else [])
        return [paths.BENCH / name for name in names]

    def label(self, name):
        """The name, on this kernel, of a stage or a guest: those of the plain one go without."""
        return name if self.name == "plain" else f"{self.name}-{name}"


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("plain"),
        Variant(
            "debug",
            "kernel-debug.config",
            slow=5,
            memory="2G",
            # With five levels of page tables KASAN reports an interrupt that comes in the moment in
            # which identify_cpu() has forgotten what the CPU can do.
            append="kmemleak=on no5lvl",
            after=("sh guest/leaks.sh",),
            machines=("vtd-x2apic", "amdvi"),
        ),
        Variant(
            "rt",
            "kernel-rt.config",
            slow=3,
            # The kernel's own test of SpinLockIrq wants interrupts off, which they are not there.
            append="kunit.filter_glob=rust_kernel_ims*",
            machines=("vtd-x2apic", "amdvi"),
        ),
        Variant("cfi", "kernel-cfi.config", machines=("vtd-x2apic",)),
        Variant(
            "builtin",
            "kernel-builtin.config",
            append="idxd_ims.emulated=1",
            machines=("vtd-x2apic",),
        ),
    )
}

PLAIN = VARIANTS["plain"]


def chosen():
    """KERNELS='NAME...'"""
    return [VARIANTS[name] for name in paths.KERNELS]
