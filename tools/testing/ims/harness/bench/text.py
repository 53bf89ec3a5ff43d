# SPDX-License-Identifier: GPL-2.0
"""Bytes of code: of the modules, of the callbacks in them, and of the library in the kernel."""

import re
import subprocess

from . import modules
from .. import sync, variant

CONTESTANTS = ("rust", "c", "layered", "msix")

# operation: how the callback is called in the modules, and the driver's operation that a layered one calls.
CALLBACKS = {
    "mask": re.compile(r"((\d|twin_)irq_mask|layered_mask)(B|$)"),
    "unmask": re.compile(r"((\d|twin_)irq_unmask|layered_unmask)(B|$)"),
    "write_message": re.compile(r"((\d|twin_)irq_write_msi_msg|layered_write_msg)(B|$)"),
}
# Where the chips of the two kinds of message store are.
STORES = {
    "in the device": modules.OUT / "modules/bench_rust.ko",
    "in memory": variant.PLAIN.out / "modules/rust_driver_ims.ko",
}
# Of the kernel crate: what is not generic, without its tests.
LIBRARY = re.compile(r"kernel(3msi|3ims|4held|3pci(6window|10capability))(?!.*(5tests|doctest))")


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


def callbacks(module):
    """{operation: size} of the callbacks."""
    found = {}
    for name, size in symbols(module):
        for operation, pattern in CALLBACKS.items():
            if pattern.search(name):
                found[operation] = found.get(operation, 0) + size
    return found


def disassembly(module):
    """That of `module`, which it leaves beside the modules."""
    text = output(tool("llvm-objdump"), "-dr", "--no-show-raw-insn", "--demangle", module)
    sync.write(modules.OUT / f"{module.stem}.S", text.encode())
    return text


def masks():
    """{kind of store: instructions of the mask callback in Rust, to its return}."""
    return {store: list(listing(disassembly(module), "irq_mask")) for store, module in STORES.items()}


def listing(text, callback):
    """Lines of offset and instruction."""
    body = re.search(rf"^[0-9a-f]+ <.*::{callback}>:\n(.*?\tretq)$", text, re.M | re.S)[1]
    # What is called is in the relocation, on a line of its own.
    body = re.sub(r"\tcallq\t.*\n.*R_X86_64_PLT32\t(.*)-0x4$", r"\tcallq\t\1", body, flags=re.M)
    # Jumps are within the callback.
    body = re.sub(r"\t0x[0-9a-f]+ <.*\+0x([0-9a-f]+)>$", r"\t+\1", body, flags=re.M)
    start = None
    for line in body.splitlines():
        address, instruction, *operands = line.split(maxsplit=2)
        address = int(address.rstrip(":"), 16)
        start = address if start is None else start
        yield f"{address - start:4x}  {instruction:<8}{''.join(operands)}".rstrip()


def measure(built):
    """{what: {contestant: bytes}}; leaves the disassembly beside the modules."""
    group = {"driver": {}, "code of the driver": {}}
    for who in ("rust", "c"):
        bare = modules.OUT / "modules" / f"bare_{who}.ko"
        group["driver"][who] = int(output(tool("llvm-size"), bare).splitlines()[1].split()[0])
        group["code of the driver"][who] = sum(size for _, size in symbols(bare))
    for who in CONTESTANTS:
        module = modules.OUT / "modules" / f"bench_{who}.ko"
        for operation, size in callbacks(module).items():
            group.setdefault(operation, {})[who] = size
        disassembly(module)
    for operation, size in callbacks(STORES["in memory"]).items():
        group[f"{operation}, store in memory"] = {"rust": size}
    library = sum(size for name, size in symbols(built.dir / "vmlinux") if LIBRARY.search(name))
    group["library in the kernel"] = {"rust": library}
    return group
