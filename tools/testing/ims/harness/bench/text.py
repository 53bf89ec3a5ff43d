# SPDX-License-Identifier: GPL-2.0
"""Bytes of code: of the modules, of the callbacks in them, and of the library in the kernel."""

import re
import subprocess

from . import modules
from .. import sync

CONTESTANTS = ("rust", "c", "layered", "msix")

# operation: how the callback is called in the modules.
CALLBACKS = {
    "mask": r"irq_mask",
    "unmask": r"irq_unmask",
    "write_message": r"irq_write_msi_msg",
}
# Of the kernel crate: what is not generic.
LIBRARY = re.compile(r"kernel(3msi|3ims|4held)")


def output(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


def tool(name):
    """That of the toolchain, in whatever version it is."""
    return sorted(modules.tools(name))[-1]


def symbols(path):
    """(name, size) of the functions."""
    for line in output(tool("llvm-nm"), "--print-size", path).splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tTwW":
            yield words[3], int(words[1], 16)


def measure(built):
    """{what: {contestant: bytes}}; leaves the disassembly beside the modules."""
    group = {"driver": {}, "code of the driver": {}}
    for who in ("rust", "c"):
        bare = modules.OUT / "modules" / f"bare_{who}.ko"
        group["driver"][who] = int(output(tool("llvm-size"), bare).splitlines()[1].split()[0])
        group["code of the driver"][who] = sum(size for _, size in symbols(bare))
    for who in CONTESTANTS:
        module = modules.OUT / "modules" / f"bench_{who}.ko"
        for name, size in symbols(module):
            for operation, pattern in CALLBACKS.items():
                if re.search(rf"(\d|twin_){pattern}(B|$)", name):
                    group.setdefault(operation, {})[who] = size
        text = output(tool("llvm-objdump"), "-dr", "--no-show-raw-insn", "--demangle", module)
        sync.write(modules.OUT / f"bench_{who}.S", text.encode())
    library = sum(size for name, size in symbols(built.dir / "vmlinux") if LIBRARY.search(name))
    group["library in the kernel"] = {"rust": library}
    return group
