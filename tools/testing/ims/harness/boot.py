# SPDX-License-Identifier: GPL-2.0
"""One guest: the device model, QEMU, two consoles, a deadline, and a verdict on the logs."""

import base64
import contextlib
import dataclasses
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from . import machine, paths, procs, splat, variant

MODEL_READY = 10  # seconds until the model listens
POWER_OFF = 20  # seconds from the last command to QEMU's end, on the plain kernel


@dataclasses.dataclass
class Boot:
    """What to boot, on what, and what to run there."""

    name: str
    machine: str = "vtd-x2apic"
    run: tuple = ()  # shell commands, run in the guest's /mnt
    model: tuple | None = None  # the model's options; None: no device
    others: tuple = ()  # options of further devices
    device: str = "dsa"  # what they all are: see machine.DEVICES
    append: str = "kunit.enable=0"
    deadline: int = 120  # seconds, for the whole boot on the plain kernel
    kernel: variant.Variant = variant.PLAIN
    cpu: str = "max"
    qemu: tuple = ()
    allow: tuple = ()  # patterns of splats that the test provokes
    expect: tuple = ()  # patterns that the kernel's log must show


@dataclasses.dataclass
class Command:
    """What one command in the guest printed, and how it ended: None if it did not."""

    text: str
    lines: list
    status: int | None = None


@dataclasses.dataclass
class Outcome:
    boot: Boot
    commands: list = dataclasses.field(default_factory=list)
    console: list = dataclasses.field(default_factory=list)
    problems: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    log: Path | None = None


class Guest:
    def __init__(self, boot, on_line=None):
        self.boot = boot
        self.slow = boot.kernel.slow
        self.on_line = on_line or (lambda source, line: None)
        self.outcome = Outcome(boot, log=paths.LOG / f"boot-{boot.name}.log")
        self.done = None  # when the guest said that all commands have run
        self.partial = {}
        self.models = []

    def run(self):
        start = time.monotonic()
        paths.LOG.mkdir(parents=True, exist_ok=True)
        # Sockets have short paths, whatever the clone's is.
        scratch = Path(tempfile.mkdtemp(prefix="ims-", dir="/tmp"))
        with open(self.outcome.log, "w", encoding="utf-8") as self.log, contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            self.watch = stack.enter_context(selectors.DefaultSelector())
            devices = self.start_models(scratch, stack)
            if not self.outcome.problems:
                qemu = self.start_qemu(scratch, stack, devices)
                self.follow(qemu, start + self.boot.deadline * self.slow)
                self.judge()
            for problem in self.outcome.problems:
                self.log.write(f"problem: {problem}\n")
        self.outcome.seconds = time.monotonic() - start
        return self.outcome

    def start_models(self, scratch, stack):
        """Start what QEMU is to connect to; return QEMU's arguments for it."""
        options = [] if self.boot.model is None else [self.boot.model, *self.boot.others]
        if not options and self.boot.machine == "amdvi":
            options = [()]  # something has to sit where Linux looks: see machine.py
        devices = []
        for number, words in enumerate(options):
            socket = scratch / f"model{number}"
            self.start_model(socket, words, stack)
            devices += machine.model_device(socket, **machine.placed(self.boot.machine, number))
        return devices

    def start_model(self, socket, options, stack):
        command = [machine.program(self.boot.device), "--socket", socket, *options]
        self.log.write("$ " + " ".join(map(str, command)) + "\n")
        model = procs.start(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        stack.callback(procs.stop, model)
        self.models.append(model)
        self.listen(model.stdout, "model")
        self.listen(model.stderr, "model")
        give_up = time.monotonic() + MODEL_READY
        self.listening = False
        while not self.listening:
            self.pump(0.1)
            if model.poll() is not None:
                self.pump(0.1)
                self.problem(f"the device model ended with status {model.returncode} before it listened")
                break
            if time.monotonic() > give_up:
                self.problem(f"the device model did not listen within {MODEL_READY} s")
                break

    def start_qemu(self, scratch, stack, devices):
        command = machine.qemu(self.boot.machine, self.boot.kernel.memory, self.boot.cpu, self.boot.qemu)
        command += machine.shares()
        for name in ("console", "guest"):
            fifo = scratch / name
            os.mkfifo(fifo)
            self.listen(open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0), name)
            command += ["-chardev", f"file,id={name},path={fifo}", "-serial", f"chardev:{name}"]
        command += devices
        command += machine.kernel(self.boot.machine, self.boot.kernel, self.append())
        self.log.write("$ " + " ".join(map(str, command)) + "\n")
        qemu = procs.start(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        stack.callback(procs.stop, qemu)
        self.listen(qemu.stderr, "qemu")
        return qemu

    def append(self):
        run = base64.b64encode("".join(line + "\n" for line in self.boot.run).encode()).decode()
        model = ",".join(self.boot.model or ()).replace(" ", "")
        with_model = f"ims.model={model or 'default'}" if self.boot.model is not None else ""
        return f"{self.boot.append} {with_model} ims.run={run}"

    def listen(self, stream, name):
        os.set_blocking(stream.fileno(), False)
        self.watch.register(stream, selectors.EVENT_READ, name)

    def follow(self, qemu, deadline):
        model_ended = False
        while qemu.poll() is None:
            self.pump(0.2)
            now = time.monotonic()
            ended = [model for model in self.models if model.poll() is not None]
            if ended and not self.done and not model_ended:
                model_ended = True
                self.problem(f"the device model ended with status {ended[0].returncode} under the guest")
            if self.done and now > self.done + POWER_OFF * self.slow:
                self.problem(f"the guest did not power off within {POWER_OFF * self.slow} s of its last command")
                break
            if now > deadline:
                self.problem(f"hang: the guest was not done after {self.boot.deadline * self.slow} s")
                break
        procs.stop(qemu)
        self.pump(0.1)
        if qemu.returncode and not self.outcome.problems:
            self.problem(f"QEMU ended with status {qemu.returncode}")

    def pump(self, wait):
        """Take in what the streams have, line by line, into the log and the outcome."""
        for key, _ in self.watch.select(wait):
            try:
                data = key.fileobj.read(65536)
            except BlockingIOError:
                continue
            if not data:
                # A FIFO that nobody has opened yet reads as ended; so does one that is finished.
                if key.data in ("model", "qemu"):
                    self.watch.unregister(key.fileobj)
                else:
                    time.sleep(0.02)
                continue
            self.take(key, data)

    def take(self, key, data):
        *lines, rest = (self.partial.get(key.fd, b"") + data).split(b"\n")
        self.partial[key.fd] = rest
        for line in lines:
            self.line(key.data, line.decode(errors="replace").rstrip("\r"))

    def line(self, source, line):
        self.log.write({"console": "", "guest": "| ", "model": "M ", "qemu": "Q "}[source] + line + "\n")
        self.log.flush()
        commands = self.outcome.commands
        if source == "console":
            self.outcome.console.append(line)
        elif source == "model" and "listening on" in line:
            self.listening = True
        elif source == "guest" and line.startswith("@@ims begin "):
            commands.append(Command(line.removeprefix("@@ims begin "), []))
            return
        elif source == "guest" and line.startswith("@@ims end "):
            commands[-1].status = int(line.split()[2])
            return
        elif source == "guest" and line == "@@ims done":
            self.done = time.monotonic()
            return
        elif source == "guest" and commands:
            commands[-1].lines.append(line)
        self.on_line(source, line)

    def judge(self):
        console = self.outcome.console
        if not self.done and not any(p.startswith("hang") for p in self.outcome.problems):
            self.problem("crash: the guest ended before its commands did")
        self.outcome.problems += [f"kernel log: {line}" for line in splat.find(console, self.boot.allow)]
        for pattern in self.boot.expect:
            if not any(splat.re.search(pattern, line) for line in console):
                self.problem(f"kernel log lacks: {pattern}")

    def problem(self, text):
        self.outcome.problems.append(text)


def run(boot, on_line=None):
    return Guest(boot, on_line).run()


def interactive(kind, device, model, kernel, append):
    """A guest with a shell on this terminal."""
    scratch = Path(tempfile.mkdtemp(prefix="ims-", dir="/tmp"))
    guest = Guest(Boot("interactive", kind, device=device, model=model, kernel=kernel))
    try:
        with open(paths.LOG / "model.log", "w", encoding="utf-8") as guest.log:
            with contextlib.ExitStack() as stack, selectors.DefaultSelector() as guest.watch:
                devices = guest.start_models(scratch, stack)
                command = machine.qemu(kind, kernel.memory) + machine.shares()
                command += ["-serial", "mon:stdio", *devices]
                command += machine.kernel(kind, kernel, f"kunit.enable=0 ims.shell {append}")
                return subprocess.call(command)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
