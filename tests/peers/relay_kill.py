"""relay is killed at random instants while it accepts and delivers, or now and then asked to end, and loses nothing:

relay_kill.py dns                                               prints the lines for dnsmasq that the rest needs
relay_kill.py run RELAY FOLDER DNS-PORT SMTP-SOURCE KILLS SEED

Clients of ours note which messages were acknowledged, and what is in them; so many of each run of smtp-source were as
its counter says, but one (it counts when the message begins). The next hops keep all that comes, refuse some recipients for
good (their sender is to have a report) and some others once. Each life of relay has a host name of its own, by which
the next hops know who delivered."""
import asyncio
import collections
import dataclasses
import hashlib
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

import report
from next_hop import NextHop
from relay_process import Fault, Relay, demand, wait_for, without_trace

DOMAINS = 6
CLIENTS = 4
SOURCES = 2
SOURCE_MESSAGES = 100
QUEUE_MAX = 1500  # with more than that on the way, the clients rest
RECORD_S = 5  # a delivery this long before a kill has been recorded


def address(domain):
    return f"127.78.0.{domain + 1}"


COLLECTOR = "127.78.0.100"


def dns_lines():
    yield f"host-record=sender.example,{COLLECTOR}"
    for domain in range(DOMAINS):
        yield f"mx-host=d{domain}.example,mx.d{domain}.example,10"
        yield f"host-record=mx.d{domain}.example,{address(domain)}"


# -- next hops -----------------------------------------------------------------------------------------------


def refused(recipient):
    return re.match(r"k\d*7@d", recipient) and recipient.endswith("@d1.example")


def sender(recipient):
    """Who has the report on it."""
    return recipient.partition("@")[0] + "@sender.example"


def greeted_late(recipient):
    return re.match(r"k\d*3@d", recipient) is not None


def mailbox(path):
    return path[1 : path.index(">")]


@dataclasses.dataclass
class Delivery:
    """What a recipient was given."""

    life: int  # of relay, that delivered it
    came: float  # when
    digest: str  # None: it is a report


class Hops:
    """The next hops: what each recipient was given."""

    def __init__(self):
        self.deliveries = collections.defaultdict(list)
        self.seen = set()  # by the grey list
        self.reports = []  # to whom, and the content

    def judge(self, path):
        recipient = mailbox(path)
        if refused(recipient):
            return "550 5.1.1 nobody here"
        if greeted_late(recipient) and recipient not in self.seen:
            self.seen.add(recipient)
            return "451 4.7.1 not yet"
        return "250 2.1.5 recipient"

    def keep(self, message):
        self.note(message, hashlib.sha256(without_trace(message.content)).hexdigest())

    def keep_report(self, message):
        self.note(message, None)
        self.reports.append((mailbox(message.recipients[0]), message.content))

    def note(self, message, digest):
        life = int(re.fullmatch(r"life(\d+)\.example", message.hello)[1])
        for path in message.recipients:
            self.deliveries[mailbox(path)].append(Delivery(life, message.came, digest))

    async def listen(self):
        _, port = await NextHop(on_message=self.keep_report).listen(COLLECTOR, 0)
        for domain in range(DOMAINS):
            hop = NextHop({"rcpt": self.judge}, on_message=self.keep)
            await hop.listen(address(domain), port)
        return port


# -- clients -------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Sent:
    recipients: list
    digest: str
    acknowledged: bool = False


class Refusal(Exception):
    """A reply that was not expected."""


class Load:
    """Clients of ours, and smtp-source."""

    def __init__(self, hops, smtp_source, folder, draw):
        self.hops, self.smtp_source, self.folder, self.draw = hops, smtp_source, pathlib.Path(folder), draw
        self.sent = {}  # by the name of the message
        self.count = 0
        self.refusals = collections.Counter()
        self.runs = 0
        self.source_acknowledged = []
        self.port, self.over = 0, False
        lines = b"Subject: smtp-source\n\n.\n" + b"a line of smtp-source\n" * 30
        (self.folder / "source.lf").write_bytes(lines)
        self.source_digest = hashlib.sha256(lines.replace(b"\n", b"\r\n") + b"\r\n").hexdigest()

    def waiting(self):
        acknowledged = sum(message.acknowledged for message in list(self.sent.values())) + len(self.source_acknowledged)
        return acknowledged - len(self.hops.deliveries)

    # Ours.

    def new_message(self):
        self.count += 1
        name = f"k{self.count}"
        size = self.draw.choice((100, 1000, 1000, 5000, 5000, 20000, 150000 if self.count % 40 == 0 else 3000))
        lines = [f"Subject: {name}", "", ".", ".."]
        lines += [f".{self.draw.getrandbits(256):x}" for _ in range(size // 64)]
        content = "\r\n".join([*lines, ""]).encode()
        domains = self.draw.sample(range(DOMAINS), self.draw.choice((1, 1, 2, 3)))
        self.sent[name] = Sent([f"{name}@d{domain}.example" for domain in domains], hashlib.sha256(content).hexdigest())
        return name, content

    async def client(self):
        while not self.over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            try:
                await self.session(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            except Refusal as refusal:
                self.refusals[str(refusal)] += 1
            finally:
                writer.close()

    async def session(self, reader, writer):
        async def reply(expected):
            line = b"   -"
            while line[3:4] == b"-":
                line = await reader.readuntil(b"\n")
            if not line.startswith(expected):
                raise Refusal(line.decode())

        await reply(b"220")
        writer.write(b"EHLO client.example\r\n")
        await reply(b"250")
        while not self.over:
            if self.waiting() > QUEUE_MAX:
                await asyncio.sleep(0.05)
                continue
            name, content = self.new_message()
            message, chunked = self.sent[name], self.draw.random() < 0.5
            writer.write(f"MAIL FROM:<{name}@sender.example> RET=HDRS\r\n".encode())
            writer.write("".join(f"RCPT TO:<{to}>\r\n" for to in message.recipients).encode())
            if chunked:
                writer.write(f"BDAT {len(content)} LAST\r\n".encode() + content)
            else:
                writer.write(b"DATA\r\n")
            for _ in range(1 + len(message.recipients)):
                await reply(b"250")
            if not chunked:
                await reply(b"354")
                writer.write(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            await reply(b"250")
            message.acknowledged = True

    # smtp-source: it ends when its server does.

    def source(self):
        self.runs += 1
        to = f"s{self.runs}@d{self.runs % DOMAINS}.example"
        out = tempfile.TemporaryFile()
        process = subprocess.Popen(
            [self.smtp_source, "-c", "-d", "-N", "-m", str(SOURCE_MESSAGES), "-M", "client.example",
             "-f", "a@sender.example", "-t", to, "-F", self.folder / "source.lf", f"127.0.0.1:{self.port}"],
            stdout=out, stderr=subprocess.DEVNULL)
        return process, to, out

    def source_ended(self, process, to, out):
        out.seek(0)
        counts = re.findall(rb"\d+", out.read())
        out.close()
        count = int(counts[-1]) if counts else 0
        certain = count if process.returncode == 0 else max(0, count - 1)
        self.source_acknowledged += [f"{number + 1}{to}" for number in range(certain)]

    async def drive_sources(self):
        running = []
        while running or not self.over:
            for each in [each for each in running if each[0].poll() is not None]:
                self.source_ended(*each)
                running.remove(each)
            if len(running) < SOURCES and not self.over and self.waiting() <= QUEUE_MAX:
                running.append(self.source())
            if self.over:
                for process, _, _ in running:
                    process.kill()
            await asyncio.sleep(0.02)

    async def run(self):
        await asyncio.gather(self.drive_sources(), *(self.client() for _ in range(CLIENTS)))


# -- lives and deaths ----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Death:
    when: float
    log_size: int  # octets of relay's log by then
    killed: bool  # or asked to end


class Trial:
    """The load, the next hops, and relay, with the lives it had."""

    def __init__(self, program, folder, dns_port, smtp_source, seed):
        self.draw = random.Random(seed)
        self.hops = Hops()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        port = self.submit(self.hops.listen()).result(30)
        self.relay = Relay(program, folder, "--resolver", f"127.0.0.1:{dns_port}", "--mx-port", str(port), "--allow",
                           "127.0.0.0/8", "--retry-first", "1", "--retry-max", "1")
        self.load = Load(self.hops, smtp_source, folder, random.Random(seed + 1))
        self.deaths = []

    def submit(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def name(self):
        return "--hostname", f"life{len(self.deaths)}.example"

    def live(self):
        """A life that may end before relay is ready."""
        if self.draw.random() < 0.1:
            self.relay.begin(*self.name())
            time.sleep(self.draw.uniform(0, 0.05))
        else:
            self.relay.start(*self.name())
            time.sleep(self.draw.choice((self.draw.uniform(0, 0.1), self.draw.uniform(0.1, 0.8))))

    def die(self):
        """Killed, or once in twenty times asked to end, where it is ready."""
        demand(self.relay.alive(), f"relay ended by itself in life {len(self.deaths)}: {self.relay.process.returncode}")
        killed = self.relay.starting or self.draw.random() < 0.95
        if killed:
            self.relay.kill()
        else:
            self.stop()
        self.deaths.append(Death(time.time(), len(self.relay.log()), killed))

    def stop(self):
        status = self.relay.stop()
        demand(status == 0, f"relay was asked to end, and did with status {status}")

    def kill(self, times):
        self.relay.start("--hostname", "first.example")
        self.load.port = self.relay.port
        self.stop()
        running = self.submit(self.load.run())
        try:
            while sum(death.killed for death in self.deaths) < times:
                self.live()
                self.die()
        finally:
            self.load.over = True
            running.result(30)

    def listed(self):
        return set(re.findall(r"[^\s<>,]+@[^\s<>,]+\.example", self.relay.listed()))

    def end(self):
        """All that is queued is delivered."""
        self.relay.start(*self.name())
        wait_for("the queue is empty", 90, lambda: not self.listed())
        self.stop()
        demand(not self.relay.left(), f"left in the spool: {self.relay.left()}")

    def recorded(self):
        """(life, recipient) of all that relay has told of, which it does behind the record."""
        found, start, log = set(), 0, self.relay.log()
        for life, end in enumerate([*(death.log_size for death in self.deaths), len(log)]):
            told = re.findall(rb"to <([^>]*)>: delivered", log[start:end])
            found |= {(life, recipient.decode()) for recipient in told}
            start = end
        return found


# -- what came of it -----------------------------------------------------------------------------------------


class Account:
    """What became of everything by now."""

    def __init__(self, trial):
        self.load, self.deliveries, self.deaths = trial.load, trial.hops.deliveries, trial.deaths
        self.recorded = trial.recorded()
        self.problems = []
        self.reported = collections.defaultdict(set)  # recipient: Message-IDs of reports on its failure
        for to, content in trial.hops.reports:
            self.read_report(to, content)

    def read_report(self, to, content):
        for block in report.read(content).recipients:
            recipient = block["Final-Recipient"].partition(";")[2].strip()
            if block["Action"] != "failed" or not refused(recipient) or to != sender(recipient):
                self.problems.append(f"a report to {to}: {block}")
            self.reported[recipient].add(re.search(rb"Message-ID: *(\S+)", content)[1])

    def settled(self, recipient):
        return bool(self.reported.get(recipient) if refused(recipient) else self.deliveries.get(recipient))

    def acknowledged(self):
        for message in self.load.sent.values():
            if message.acknowledged:
                yield from message.recipients
        yield from self.load.source_acknowledged

    def lost(self):
        return [recipient for recipient in self.acknowledged() if not self.settled(recipient)]

    def digest(self, recipient):
        name = recipient.partition("@")[0]
        return self.load.sent[name].digest if name in self.load.sent else self.load.source_digest

    def corrupted(self):
        return [recipient for recipient, each in self.deliveries.items()
                if any(delivery.digest not in (None, self.digest(recipient)) for delivery in each)]

    def halved(self):
        """Messages, acknowledged or not, that are there for some recipients and not for others."""
        return [message.recipients for message in self.load.sent.values()
                if len(set(map(self.settled, message.recipients))) != 1]

    def duplicates(self):
        """(the delivery, the one behind it) of each recipient that has several."""
        for recipient, each in self.deliveries.items():
            for delivery, again in zip(each, each[1:]):
                yield recipient, delivery, again

    def unexplained(self):
        """Duplicates without a kill between the first delivery and its record."""
        return [(recipient, first, again) for recipient, first, again in self.duplicates()
                if first.life == again.life or not self.deaths[first.life].killed
                or (first.life, recipient) in self.recorded]

    def longest(self):
        """From a delivery that is not recorded to the kill."""
        return max((self.deaths[delivery.life].when - delivery.came for _, delivery, again in self.duplicates()
                    if delivery.life < again.life), default=0)

    def twice_reported(self):
        """A report that arrives twice is a duplicate; two different ones are a fault."""
        return [recipient for recipient, names in self.reported.items() if len(names) > 1]

    def summary(self):
        ours = sum(message.acknowledged for message in self.load.sent.values())
        deliveries = sum(map(len, self.deliveries.values()))
        return (f"{ours} messages of our clients acknowledged, at least {len(self.load.source_acknowledged)} of "
                f"{self.load.runs} runs of smtp-source; of {len(list(self.acknowledged()))} recipients "
                f"{len(self.lost())} lost, {len(self.corrupted())} corrupted; {len(list(self.duplicates()))} duplicates "
                f"among {deliveries} deliveries, {len(self.unexplained())} without a kill between delivery and record, "
                f"which are {self.longest():.3f} s apart at most; reports on {len(self.reported)} failures")

    def check(self):
        demand(not self.problems, self.problems[:5])
        for what in (self.lost, self.corrupted, self.halved, self.unexplained, self.twice_reported):
            demand(not what(), f"{what.__name__}: {len(what())}, among them {what()[:5]}")
        demand(self.longest() < RECORD_S, "a delivery was not recorded for long")


def run(program, folder, dns_port, smtp_source, kills, seed):
    trial = Trial(program, folder, dns_port, smtp_source, int(seed))
    began = time.monotonic()
    trial.kill(int(kills))
    seconds = time.monotonic() - began

    # What was acknowledged and has not arrived, and has not come back, is in the queue.
    listed = trial.listed()
    missing = [each for each in Account(trial).lost() if each not in listed and sender(each) not in listed]
    demand(not missing, f"neither delivered nor queued: {len(missing)}, among them {missing[:5]}")
    trial.end()

    account = Account(trial)
    ends = len(trial.deaths) - int(kills)
    print(f"{kills} kills and {ends} other ends in {seconds:.0f} s, seed {seed}: {account.summary()}; {len(listed)} "
          "addresses queued at the last kill")
    account.check()
    refusals = [refusal for refusal in trial.load.refusals if not re.match(r"421 4\.3\.2 .*Shutting down", refusal)]
    demand(not refusals, f"relay said to clients: {refusals}")


if __name__ == "__main__":
    if sys.argv[1] == "dns":
        print("\n".join(dns_lines()))
    else:
        try:
            run(*sys.argv[2:])
        except Fault as fault:
            sys.exit(f"FAILED: {fault}")
