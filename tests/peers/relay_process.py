"""A relay that is started, killed and asked, with its spool; and mail for it."""
import pathlib
import re
import signal
import subprocess
import time


class Fault(Exception):
    """Something is not as it has to be."""


def demand(condition, text):
    if not condition:
        raise Fault(text)


class Relay:
    def __init__(self, program, folder, *options):
        self.program, self.folder = program, pathlib.Path(folder)
        self.spool = self.folder / "spool"
        self.spool.mkdir(exist_ok=True)
        self.options = options
        self.process, self.port, self.starting = None, 0, False

    def start(self, *options):
        """On the port of the last time, if there was one."""
        self.begin(*options)
        line = self.process.stdout.readline().decode()
        demand(line.startswith("ready "), "relay did not start")
        self.port = int(line.rpartition(":")[2])
        self.starting = False

    def begin(self, *options):
        """Without waiting until it is there."""
        self.starting = True
        with (self.folder / "relay.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--listen", f"127.0.0.1:{self.port}", "--spool", self.spool, *self.options, *options],
                stdout=subprocess.PIPE, stderr=log)

    def kill(self):
        self.process.kill()
        self.ended()

    def stop(self):
        """SIGTERM; its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self):
        self.process.stdout.close()
        return self.process.wait(60)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def listed(self):
        """The queue as --list prints it."""
        command = [self.program, "--spool", self.spool, "--list"]
        shown = subprocess.run(command, capture_output=True, timeout=60, check=True)
        return shown.stdout.decode("utf-8", "replace")

    def left(self):
        """What is in the folders of the spool."""
        return [path.relative_to(self.spool) for path in self.spool.glob("*/*")]

    def log(self):
        return (self.folder / "relay.log").read_bytes()


def wait_for(what, seconds, condition):
    until = time.monotonic() + seconds
    while not condition():
        demand(time.monotonic() < until, f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


RECEIVED = re.compile(rb"Received: [^\r]*\r\n([ \t][^\r]*\r\n)*")


def without_trace(content):
    """The octets behind the one Received field that the relay put in front."""
    field = RECEIVED.match(content)
    demand(field is not None, f"no Received field leads: {content[:200]!r}")
    return content[field.end() :]
