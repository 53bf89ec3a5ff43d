# SPDX-License-Identifier: GPL-2.0
"""One guest: the device model, QEMU, two consoles, a deadline, and a verdict on the logs.

While its commands run a guest can ask the host for something: see host.py."""

import base64
import collections
import contextlib
import dataclasses
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import host, machine, paths, procs, splat, variant

MODEL_READY = 10  # seconds until the model listens
POWER_OFF = 20  # seconds from the last command to QEMU's end, on the plain kernel

PREFIX = {"console": "", "guest": "| ", "model": "M ", "qemu": "Q ", "qmp": "H "}


@dataclasses.dataclass
class Boot:
    """What to boot, on what, and what to run there."""

    name: str
    machine: str = "vtd-x2apic"
    run: tuple = ()  # shell commands, run in the guest's /mnt
    model: tuple | None = None  # the model's options; None: no device
    others: tuple = ()  # options of further devices
    device: str = "dsa"  # what they all are: see machine.DEVICES
    sleeps: bool = False  # the guest is to be suspended: it runs from memory, and has a disk
    boots: int = 1  # of a kernel, one after the other; each runs `run`
    starts: int = 1  # of QEMU, for these
    ports: bool = False  # each sits in a port, to be unplugged from
    append: str = "kunit.enable=0"
    deadline: int = 120  # seconds, for the whole boot on the plain kernel
    kernel: variant.Variant = variant.PLAIN
    image: str = ""  # if not the kernel's
    root: str = paths.GUEST_ROOT
    cpu: str = "max"
    qemu: tuple = ()
    accel: str = paths.ACCEL
    cpus: int = paths.CPUS
    memory: str = ""  # if not the kernel's
    trace: tuple = ()  # what QEMU is to print once the guest asks for that
    faults: bool = False  # the device is to access memory that it has not
    late: bool = False  # messages may come when their interrupt has been freed
    expect: tuple = ()  # patterns that the kernel's log must show
    check: Callable | None = None  # problems that it finds with the outcome
    replay: str = ""  # the command to see a seed again that fails; SEED stands for it


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
    qemu: list = dataclasses.field(default_factory=list)  # what QEMU printed
    violations: list = dataclasses.field(default_factory=list)  # of rules that the device models check
    problems: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    log: Path | None = None

    def kernels(self):
        """How many have booted."""
        return sum("] Linux version " in line for line in self.console)


class Guest:
    def __init__(self, boot, on_line=None):
        self.boot = boot
        self.slow = boot.kernel.slow
        self.on_line = on_line or (lambda source, line: None)
        self.outcome = Outcome(boot, log=paths.LOG / f"boot-{boot.name}.log")
        self.qemu = None  # the process
        self.done = None  # when the guest said that all commands have run
        self.partial = {}
        self.models = {}  # by number
        self.leaving = set()  # those that may end
        self.devices = []  # QEMU's for them
        self.asked = collections.deque()

    def run(self):
        start = time.monotonic()
        paths.LOG.mkdir(parents=True, exist_ok=True)
        # Sockets have short paths, whatever the clone's is.
        scratch = Path(tempfile.mkdtemp(prefix="ims-", dir="/tmp"))
        with open(self.outcome.log, "w", encoding="utf-8") as self.log, contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            self.watch = stack.enter_context(selectors.DefaultSelector())
            stack.callback(self.stop_models)
            self.start_models(scratch)
            if not self.outcome.problems:
                command = self.command(scratch, stack)
                for _ in range(self.boot.starts):
                    if not self.outcome.problems:
                        self.start_qemu(command, stack)
                        self.follow(start + self.boot.deadline * self.slow)
                self.judge()
            for problem in self.outcome.problems:
                self.log.write(f"problem: {problem}\n")
        self.outcome.seconds = time.monotonic() - start
        return self.outcome

    def options(self):
        """Those of each model."""
        options = [] if self.boot.model is None else [self.boot.model, *self.boot.others]
        if not options and self.boot.machine.startswith("amdvi"):
            options = [()]  # something has to sit where Linux looks: see machine.py
        return options

    def start_models(self, scratch):
        """Start what QEMU is to connect to."""
        for number in range(len(self.options())):
            socket = scratch / f"model{number}"
            self.devices.append(
                machine.model_device(self.boot.machine, number, socket, self.boot.ports)
            )
            self.start_model(number)

    def start_model(self, number):
        socket = Path(self.devices[number]["socket"]["path"])
        socket.unlink(missing_ok=True)  # one that was killed has left it
        command = [machine.program(self.boot.device), "--socket", socket, *self.options()[number]]
        self.log.write("$ " + " ".join(map(str, command)) + "\n")
        model = procs.start(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.models[number] = model
        self.listen(model.stdout, "model")
        self.listen(model.stderr, "model")
        self.listening = False
        self.wait_for(lambda: self.listening or model.poll() is not None, MODEL_READY)
        if model.poll() is not None:
            self.pump(0.1)
            self.problem(f"the device model ended with status {model.returncode} before it listened")
        elif not self.listening:
            self.problem(f"the device model did not listen within {MODEL_READY} s")

    def stop_models(self):
        for model in self.models.values():
            procs.stop(model)

    def command(self, scratch, stack):
        """QEMU's, with what it is connected to."""
        boot = self.boot
        command = machine.qemu(
            boot.machine, boot.memory or boot.kernel.memory, boot.cpu, boot.qemu, boot.accel, boot.cpus
        )
        if boot.boots > boot.starts:
            command += ["-action", "reboot=reset"]
        command += machine.shares(boot.root)
        if boot.sleeps:
            command += machine.disk(scratch / "disk")
        for name in ("console", "guest"):
            fifo = scratch / name
            os.mkfifo(fifo)
            self.listen(open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0), name)
            answers = self.answers_to(name, scratch, stack)
            command += ["-chardev", f"file,id={name},path={fifo}{answers}", "-serial", f"chardev:{name}"]
        self.host = stack.enter_context(contextlib.closing(host.Host(self, scratch / "qmp")))
        command += ["-qmp", f"unix:{self.host.path},server=on,wait=off"]
        if boot.ports:
            command += machine.ports(len(self.devices), boot.device)
        command += machine.devices(self.devices)
        return command + machine.kernel(boot.machine, boot.kernel, self.append(), boot.image)

    def start_qemu(self, command, stack):
        self.host.close()
        self.log.write("$ " + " ".join(map(str, command)) + "\n")
        self.qemu = procs.start(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        stack.callback(procs.stop, self.qemu)
        self.listen(self.qemu.stderr, "qemu")

    def answers_to(self, name, scratch, stack):
        """What a console reads, as an option of its character device."""
        if name != "guest":
            return ""
        fifo = scratch / "answers"
        os.mkfifo(fifo)
        # Both ends, so that nobody waits for the other.
        self.answers = stack.enter_context(open(os.open(fifo, os.O_RDWR), "wb", buffering=0))
        return f",input-path={fifo}"

    def append(self):
        run = base64.b64encode("".join(line + "\n" for line in self.boot.run).encode()).decode()
        model = ",".join(self.boot.model or ()).replace(" ", "")
        with_model = f"ims.model={model or 'default'}" if self.boot.model is not None else ""
        sleeps = "ims.sleeps resume=/dev/vda" if self.boot.sleeps else ""
        return f"{self.boot.append} {with_model} {sleeps} ims.run={run}"

    def listen(self, stream, name):
        os.set_blocking(stream.fileno(), False)
        self.watch.register(stream, selectors.EVENT_READ, name)

    def follow(self, deadline):
        model_ended = False
        while self.qemu.poll() is None:
            self.pump(0.2)
            while self.asked:
                self.answers.write(self.host.obey(self.asked.popleft()).encode() + b"\n")
            self.host.knock(self.answers)
            now = time.monotonic()
            ended = [
                model.returncode
                for number, model in self.models.items()
                if number not in self.leaving and model.poll() is not None
            ]
            if ended and not self.done and not model_ended:
                model_ended = True
                self.problem(f"the device model ended with status {ended[0]} under the guest")
            if self.done and now > self.done + POWER_OFF * self.slow:
                self.problem(f"the guest did not power off within {POWER_OFF * self.slow} s of its last command")
                break
            if now > deadline:
                self.problem(f"hang: the guest was not done after {self.boot.deadline * self.slow} s")
                self.host.log_registers()
                break
        procs.stop(self.qemu)
        self.pump(0.1)
        if self.qemu.returncode and not self.outcome.problems:
            self.problem(f"QEMU ended with status {self.qemu.returncode}")

    def wait_for(self, condition, seconds):
        """Take in what comes until the condition is true, or for so long; tell whether it is."""
        give_up = time.monotonic() + seconds
        while not condition() and time.monotonic() < give_up:
            self.pump(0.1)
        return bool(condition())

    def pump(self, wait):
        """Take in what the streams have, line by line, into the log and the outcome."""
        for key, _ in self.watch.select(wait):
            try:
                data = key.fileobj.read(65536)
            except BlockingIOError:
                continue
            if not data:
                # A FIFO that nobody has opened yet reads as ended; so does one that is finished.
                if key.data in ("model", "qemu", "qmp"):
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
        self.log.write(PREFIX[source] + line + "\n")
        self.log.flush()
        commands = self.outcome.commands
        if source == "console":
            self.outcome.console.append(line)
        elif source == "qemu":
            self.outcome.qemu.append(line)
        elif source == "qmp":
            self.host.monitor.line(line)
        elif source == "model" and "listening on" in line:
            self.listening = True
        elif source == "model" and " violation: " in line:
            self.outcome.violations.append(line)
        elif source == "guest" and line.startswith("@@ims ask "):
            self.asked.append(line.removeprefix("@@ims ask "))
            return
        elif source == "guest" and line.startswith("@@ims begin "):
            text = line.removeprefix("@@ims begin ")
            # The kernel before had begun with it.
            if not commands or (commands[-1].text, commands[-1].status) != (text, None):
                commands.append(Command(text, []))
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
        booted = self.outcome.kernels()
        if booted != self.boot.boots:
            self.problem(f"{booted} kernels have booted, not {self.boot.boots}")
        is_hostile = "--chaos" in (self.boot.model or ())
        if self.boot.faults:
            console = [line for line in console if not splat.DMA_FAULT.search(line)]
        if self.boot.late:
            console = [line for line in console if not splat.STRAY.search(line)]
        splats = splat.find(console, is_hostile)
        self.outcome.problems += [f"kernel log: {line}" for line in splats]
        if not is_hostile:  # such a device loses and changes what the driver writes
            self.outcome.problems += self.outcome.violations
        for pattern in self.boot.expect:
            if not any(splat.re.search(pattern, line) for line in console):
                self.problem(f"kernel log lacks: {pattern}")
        if self.boot.check:
            self.outcome.problems += self.boot.check(self.outcome)

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
                stack.callback(guest.stop_models)
                guest.start_models(scratch)
                command = machine.qemu(kind, kernel.memory) + machine.shares() + ["-serial", "mon:stdio"]
                command += machine.devices(guest.devices)
                command += machine.kernel(kind, kernel, f"kunit.enable=0 ims.shell {append}")
                return subprocess.call(command)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
