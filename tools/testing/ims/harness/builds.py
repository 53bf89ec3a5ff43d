# SPDX-License-Identifier: GPL-2.0
"""Kernels without what ours depends on: the rest of it builds, and Kconfig leaves out what does not."""

from . import kernel, paths, sync, tree, variant
from .tap import Result, failed

OURS = ("INTEL_IDXD_IMS", "SAMPLE_RUST_DRIVER_IMS", "RUST_IMS_KUNIT_TEST")

# What is not set, and what of ours goes with it.
WITHOUT = {
    "SYSFS": ("INTEL_IDXD_IMS",),
    "SMP": OURS,
    "PCI_MSI": OURS,
}
# What selects that.
SELECTS = {"PCI_MSI": ("AMD_IOMMU",)}

# Where our files are, and those that patches/ changes. `prepare` builds the kernel crate.
DIRECTORIES = ("kernel/irq/", "arch/x86/kernel/apic/", "drivers/iommu/", "drivers/dma/", "samples/rust/")


class Builds(kernel.Build):
    def __init__(self, source_tree, symbol):
        super().__init__(source_tree, f"-without-{symbol.lower()}")
        self.symbol = symbol
        self.fragment = self.dir / "ims-fragment"
        self.log = paths.LOG / f"without-{symbol.lower()}.log"

    def run(self, *command):
        """Behind the guests that run at the same time."""
        done = kernel.captured("nice", "-n", "19", *command)
        with self.log.open("a") as log:
            log.write(done.stdout)
        return done.returncode == 0

    def configure(self):
        unset = (self.symbol, *SELECTS.get(self.symbol, ()))
        sync.write(self.fragment, "".join(f"# CONFIG_{each} is not set\n" for each in unset).encode())
        merge = self.tree.source / "scripts/kconfig/merge_config.sh"
        fragments = [*variant.PLAIN.config, self.fragment]
        return (
            self.run(*self.make("tinyconfig"))
            and self.run(merge, "-m", "-O", self.dir, self.dir / ".config", *fragments)
            and self.run(*self.make("olddefconfig"))
        )

    def config(self):
        """The symbols that are set."""
        lines = (self.dir / ".config").read_text().splitlines()
        return {line.partition("=")[0].removeprefix("CONFIG_") for line in lines if line.startswith("CONFIG_")}

    def build(self):
        sync.write(self.log, b"")
        if not self.configure():
            return "it cannot be configured"
        left_out = set(OURS) - self.config()
        if self.symbol in self.config():
            return f"something selects {self.symbol}"
        if left_out != set(WITHOUT[self.symbol]):
            return f"Kconfig leaves out {sorted(left_out)}"
        if not self.run(*self.make("prepare")) or not self.run(*self.make(*DIRECTORIES)):
            return "it does not build"
        return ""


def run():
    for symbol in WITHOUT:
        builds = Builds(tree.Tree(), symbol)
        problem = builds.build()
        name = f"without {symbol}"
        yield failed(name, problem, f"log: {builds.log}") if problem else Result(name)
