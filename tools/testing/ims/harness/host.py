# SPDX-License-Identifier: GPL-2.0
"""What a guest can ask of the host: it prints `@@ims ask WORD NUMBER` and reads a line: "ok", why not, or
the answer.

The number is that of a device model. See unplug.sh and suspend.c in selftests/ims."""

import json
import signal
import socket
import time

from . import procs

PATIENCE = 30  # seconds for whatever is asked


class Refused(Exception):
    """The host cannot do what it was asked for."""


class Qmp:
    """QEMU's monitor. Its lines come in through the guest's `pump`."""

    def __init__(self, guest, path):
        self.guest = guest
        self.answers = []
        self.events = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        guest.listen(self.socket.makefile("rb", buffering=0), "qmp")

    def close(self):
        self.socket.close()

    def line(self, line):
        message = json.loads(line)
        if "event" in message:
            self.events.append(message)
        elif "QMP" not in message:
            self.answers.append(message)

    def execute(self, command, **arguments):
        self.answers.clear()
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        if not self.guest.wait_for(lambda: self.answers, PATIENCE):
            raise Refused(f"{command}: QEMU does not answer")
        if "error" in self.answers[0]:
            raise Refused(f"{command}: {self.answers[0]['error']['desc']}")
        return self.answers[0]["return"]

    def happened(self, event, **data):
        """Whether the event is among those since they were cleared."""
        return any(
            each["event"] == event and data.items() <= each.get("data", {}).items() for each in self.events
        )


class Host:
    def __init__(self, guest, qmp_path):
        self.guest = guest
        self.path = qmp_path
        self.monitor = None
        self.next_knock = None
        self.jobs = {
            "unplug": self.unplug,
            "plug": self.plug,
            "kill-model": self.kill_model,
            "knock": lambda _: self.set_knocks(time.monotonic()),
            "silence": lambda _: self.set_knocks(None),
            "trace": self.trace,
            "correctable": lambda number: self.inject(number, "BAD_TLP"),
            "non-fatal": lambda number: self.inject(number, "COMP_TIME"),
            "fatal": lambda number: self.inject(number, "MALF_TLP"),
            "kernels": lambda _: str(self.guest.outcome.kernels()),
        }

    def close(self):
        if self.monitor:
            self.monitor.close()
        self.monitor = None

    def obey(self, words):
        """Do what a guest asks for; return the answer."""
        word, _, number = words.partition(" ")
        if word not in self.jobs or not number.isdigit() or int(number) >= len(self.guest.devices):
            self.guest.problem(f"the guest asked for '{words}', which the harness does not know")
            return "what?"
        try:
            return self.jobs[word](int(number)) or "ok"
        except (Refused, OSError) as error:
            return str(error)

    def qmp(self):
        if not self.monitor:
            self.monitor = Qmp(self.guest, self.path)
            self.monitor.execute("qmp_capabilities")
        return self.monitor

    def log_registers(self):
        """Where the CPUs are goes to the log of a guest that hangs, with the monitor's answers."""
        try:
            self.qmp().execute("human-monitor-command", **{"command-line": "info registers -a"})
        except (Refused, OSError) as error:
            self.guest.problem(f"nor do its CPUs say where they are: {error}")

    def unplug(self, number):
        """Press the button; the guest sees what comes of it."""
        self.qmp().events.clear()
        self.qmp().execute("device_del", id=self.guest.devices[number]["id"])
        self.guest.leaving.add(number)

    def plug(self, number):
        """Once the guest has let go of the one before, and its model has ended."""
        name = self.guest.devices[number]["id"]
        gone = lambda: (
            self.qmp().happened("DEVICE_DELETED", device=name)
            and self.guest.models[number].poll() is not None
        )
        if not self.guest.wait_for(gone, PATIENCE):
            raise Refused(f"the guest does not let go of {name}")
        self.guest.start_model(number)
        self.guest.leaving.discard(number)
        self.qmp().execute("device_add", **self.guest.devices[number])

    def set_knocks(self, begin):
        self.next_knock = begin

    def knock(self, line):
        """Wake a guest that has gone to sleep since it asked for that: it may take a while to."""
        if self.next_knock and time.monotonic() > self.next_knock:
            self.next_knock = time.monotonic() + 1
            line.write(b"\n")

    def kill_model(self, number):
        """QEMU 11.1 aborts if a model ends with messages unread: it sends none, and all are read."""
        self.guest.leaving.add(number)
        self.guest.qemu.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # the model reads what was sent
        self.guest.models[number].kill()
        procs.stop(self.guest.models[number])
        self.guest.qemu.send_signal(signal.SIGCONT)

    def trace(self, _):
        """From now on QEMU prints what the guest's boot says."""
        for event in self.guest.boot.trace:
            self.qmp().execute("trace-event-set-state", name=event, enable=True)

    def inject(self, number, error):
        """The port of the device reports an error, as PCI Express has it."""
        line = f"pcie_aer_inject_error port{number} {error}"
        answer = self.qmp().execute("human-monitor-command", **{"command-line": line})
        if not answer.startswith("OK"):
            raise Refused(f"{line}: {answer.strip()}")
