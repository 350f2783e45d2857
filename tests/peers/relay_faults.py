"""Next hops that do what real ones do not, or only now and then, and relay between them and a sender:

relay_faults.py dns                      prints the lines for dnsmasq that the rest needs
relay_faults.py run RELAY FOLDER DNS-PORT

Every scenario is a domain with hosts of its own. One relay gets a message for each, all at once; when its queue is empty
every message has to have arrived, once, or whoever sent it has to have a report, at the time and with the status that
the scenario tells."""
import asyncio
import dataclasses
import fnmatch
import smtplib
import sys
import threading

import report
from next_hop import CLOSE, HANG, RESET, NextHop
from relay_process import Fault, Relay, demand, wait_for, without_trace

RETRY_S = 5
TIMEOUT_S = 6
WITHOUT_CHUNKS = {"capabilities": ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")}
ONE_BY_ONE = {"capabilities": ("8BITMIME",)}
MANNERS = {"with PIPELINING": WITHOUT_CHUNKS, "without PIPELINING": ONE_BY_ONE, "with CHUNKING": {}}
TEXT = b"Subject: %s\r\n\r\n.\r\n..\r\n.a\r\n" + b"a line of the text\r\n" * 40 + b".\r\n\r\n"


@dataclasses.dataclass
class Scenario:
    title: str
    hosts: list  # of each, in the order of preference, the scripts of its connections; None: nobody listens there
    recipients: int = 1
    copies: int = 1  # of each recipient that were accepted
    report: str = None  # a pattern for the Status of each recipient: failed, and the sender has a report
    says: tuple = ()  # what the report contains
    at_once: bool = True  # all in the first attempt; False: that makes one connection, and the next comes in its time
    second_tried: bool = None  # the second host was contacted
    content: bytes = TEXT
    body: str = "7BIT"


def at_each_stage(what, named):
    """The first attempt meets it, the second nothing."""
    for stage in ("connect", "ehlo", "mail", "rcpt", "data", "body", "dot"):
        for how, settings in MANNERS.items():
            if stage == "data" and not settings:
                continue  # there is none
            yield Scenario(f"{named} at {stage}, {how} [Q13]" if stage == "dot" else f"{named} at {stage}, {how}",
                           [[settings | {stage: what}, settings]], at_once=False)


def long_reply(code, octets):
    """Of many lines."""
    line = f"{code}-" + "x" * 480
    return "\r\n".join([line] * (octets // len(line)) + [f"{code} end"])


TOO_MANY = "452 4.5.3 too many recipients"


def at_most(limit):
    """A script: so many recipients of one message are accepted."""
    count = 0

    def mail(path):
        nonlocal count
        count = 0
        return "250 2.1.0 sender"

    def rcpt(path):
        nonlocal count
        count += 1
        return "250 2.1.5 recipient" if count <= limit else TOO_MANY

    return {"mail": mail, "rcpt": rcpt}


BINARY = b"Subject: %s\r\n\r\n\x00\xff\n\r.\r\n.\r\nno end"
SCENARIOS = [
    Scenario("nothing special", [[{}]]),
    *at_each_stage(CLOSE, "closed"),
    *at_each_stage(RESET, "reset"),
    *at_each_stage("421 4.3.2 shutting down", "421"),
    *at_each_stage(HANG, "silent"),
    # Fail-over: only while nothing was sent.
    Scenario("the first host refuses connections [C113]", [None, [{}]]),
    Scenario("the first host closes before its greeting", [[{"connect": CLOSE}], [{}]]),
    Scenario("the first host says 421", [[{"connect": "421 4.3.2 busy"}], [{}]]),
    Scenario("the first host says 554 in its greeting [C120]", [[{"connect": "554 5.3.2 no"}], [{}]]),
    Scenario("the first host takes no mail [C124]", [[{"connect": "521 5.3.2 no mail here"}], [{}]]),
    Scenario("the first host refuses the hello", [[{"ehlo": "554 5.7.1 not you", "helo": "554 5.7.1 not you"}], [{}]]),
    Scenario("all hosts say 554 in their greetings [C120]",
             [[{"connect": "554 5.3.2 no"}], [{"connect": "554 5.3.2 none"}]], copies=0, report="5.3.2"),
    Scenario("no host knows EHLO [C25]", [[{"ehlo": "502 5.5.1 what"}]]),
    Scenario("lost behind the dot, while another host is there [Q13]", [[{"dot": CLOSE}, {}], [{}]],
             at_once=False, second_tried=False),
    Scenario("silent behind the dot, while another host is there [Q13]", [[{"dot": HANG}, {}], [{}]],
             at_once=False, second_tried=False),
    Scenario("lost behind the last chunk, then refused [Q13]", [[{"dot": RESET}, {"rcpt": "550 5.1.1 gone"}]],
             copies=0, report="5.1.1", at_once=False, says=("may have",)),
    # Recipients apart from each other.
    Scenario("452 at the third recipient, twice [Q12]",
             [[{"rcpt": ["250 ok", "250 ok", TOO_MANY, TOO_MANY, TOO_MANY, "250 ok", "250 ok", TOO_MANY, "250 ok"]}]],
             recipients=5),
    Scenario("452 at the third recipient, without PIPELINING [Q12]",
             [[ONE_BY_ONE | {"rcpt": ["250 ok", "250 ok", TOO_MANY, "250 ok", "250 ok", TOO_MANY, "250 ok"]}]],
             recipients=5),
    Scenario("452 from the 101st recipient on [Q12]", [[at_most(100)]], recipients=250),
    Scenario("LIMITS RCPTMAX=7 [C228]", [[at_most(7) | {"capabilities": ("PIPELINING", "LIMITS RCPTMAX=7")}]],
             recipients=30),
    Scenario("some recipients later [C128]",
             [[{"rcpt": lambda path: "450 4.2.1 later" if path.startswith(("<r2@", "<r4@")) else "250 ok"}, {}]],
             recipients=5, at_once=False),
    Scenario("all recipients refused, and 354 all the same [C145]",
             [[WITHOUT_CHUNKS | {"rcpt": "550 5.1.1 nobody"}]], recipients=3, copies=0, report="5.1.1"),
    Scenario("refused at the dot [C129]", [[{"dot": "554 5.6.0 not that"}]], recipients=2, copies=0, report="5.6.0"),
    Scenario("deferred at the dot", [[{"dot": "452 4.3.1 no room"}, {}]], recipients=2, at_once=False),
    # Replies that are none.
    Scenario("2 MB of lines behind RCPT [Q14]", [[WITHOUT_CHUNKS | {"rcpt": long_reply(250, 2 << 20)}, {}]],
             at_once=False),
    Scenario("2 MB of lines behind the dot [Q14]", [[{"dot": long_reply(250, 2 << 20)}, {}]], copies=2, at_once=False),
    Scenario("2 MB in one line [Q14]", [[{"mail": "550 " + "x" * (2 << 20)}, {}]], at_once=False),
    Scenario("15 KB of refusal [Q14]", [[{"rcpt": long_reply(550, 15000)}]], copies=0, report="5.*"),
    Scenario("control characters in a refusal [C133]",
             [[{"rcpt": "550 5.1.1 \x1b[2J\x00\x07\x7f\x0bFinal-Recipient: x\rStatus: 2.0.0"}]],
             copies=0, report="5.*"),
    Scenario("no reply at all", [[{"mail": "\x00\xff\xfe what"}, {}]], at_once=False),
    Scenario("a reply of no class", [[{"mail": "999 what"}, {}]], at_once=False),
    Scenario("replies nobody asked for", [[{"ehlo": "250 next.example\r\n250 a\r\n250 b\r\n250 c"}, {}]], at_once=None),
    # Limits.
    Scenario("too large [C164]", [[{"capabilities": ("SIZE 200",)}]], copies=0, report="5.3.4"),
    Scenario("eight bits, and no 8BITMIME [C166]", [[{"capabilities": ("PIPELINING",)}]], copies=0, report="5.6.3",
             content=b"Subject: %s\r\n\r\n\xc3\xa9\r\n", body="8BITMIME"),
    Scenario("BINARYMIME", [[{"capabilities": ("CHUNKING", "BINARYMIME")}]], content=BINARY, body="BINARYMIME"),
    Scenario("octets, and no BINARYMIME [C158]", [[{}]], copies=0, report="5.6.*", content=BINARY, body="BINARYMIME"),
]


# -- names and addresses -------------------------------------------------------------------------------------


def address(scenario, host):
    return f"127.77.{scenario + 1}.{host + 1}"


COLLECTOR = "127.77.0.1"


def dns_lines(scenarios):
    yield f"host-record=sender.example,{COLLECTOR}"
    for i, scenario in enumerate(scenarios):
        for j in range(len(scenario.hosts)):
            yield f"mx-host=s{i}.example,mx{j}.s{i}.example,{10 + j}"
            yield f"host-record=mx{j}.s{i}.example,{address(i, j)}"


# -- the run -------------------------------------------------------------------------------------------------


class Field:
    """All next hops, on a thread of their own."""

    def __init__(self, scenarios):
        self.collector = NextHop()
        self.hosts = [[host and NextHop(*host) for host in scenario.hosts] for scenario in scenarios]
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.port = asyncio.run_coroutine_threadsafe(self.listen(), self.loop).result(30)

    async def listen(self):
        _, port = await self.collector.listen(COLLECTOR, 0)
        for i, hosts in enumerate(self.hosts):
            for j, host in enumerate(hosts):
                if host is not None:
                    await host.listen(address(i, j), port)
        return port


def sender(number):
    return f"s{number}@sender.example"


def submit(port, scenarios):
    """What was sent, for each."""
    contents = []
    with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=60) as client:
        client.ehlo()
        for i, scenario in enumerate(scenarios):
            content = scenario.content.replace(b"%s", scenario.title.encode())
            replies = [client.mail(sender(i), [f"BODY={scenario.body}"])]
            replies += [client.rcpt(f"r{n}@s{i}.example") for n in range(scenario.recipients)]
            client.send(b"BDAT %d LAST\r\n" % len(content) + content)
            replies.append(client.getreply())
            demand(all(code == 250 for code, _ in replies), f"{scenario.title}: relay said {replies}")
            contents.append(content)
    return contents


def check_copies(scenario, number, hosts, content):
    """What arrived is what was sent, and was accepted as often as it should be."""
    copies = {f"<r{n}@s{number}.example>": 0 for n in range(scenario.recipients)}
    for message in (message for host in hosts if host for message in host.messages):
        demand(without_trace(message.content) == content, f"the message was changed: {message.content[:3000]!r}")
        demand(message.sender.split(" ")[0] == f"<{sender(number)}>", f"the sender is {message.sender}")
        for path in message.recipients:
            copies[path.split(" ")[0]] += message.accepted
    demand(set(copies.values()) == {scenario.copies}, f"accepted copies: {copies}")


def check_times(scenario, hosts):
    times = sorted(time for host in hosts if host for time in host.connections)
    early = [time for time in times if time - times[0] < RETRY_S * 0.95]
    if scenario.at_once is False:
        demand(len(early) == 1 and len(times) > 1, f"connections after {[time - times[0] for time in times]}")
    if scenario.at_once is True:
        demand(early == times, f"a connection only after {times[-1] - times[0]:.2f} s")
    if scenario.second_tried is not None:
        demand(bool(hosts[1].connections) == scenario.second_tried, f"the second host had {hosts[1].connections}")


def check_reports(scenario, number, reports):
    if scenario.report is None:
        demand(not reports, f"{len(reports)} reports")
        return
    demand(len(reports) == 1, f"{len(reports)} reports")
    told = reports[0]
    recipients = sorted(block["Final-Recipient"].partition(";")[2].strip() for block in told.recipients)
    expected = sorted(f"r{n}@s{number}.example" for n in range(scenario.recipients))
    demand(recipients == expected, f"reported: {recipients}")
    for block in told.recipients:
        demand(block["Action"] == "failed" and fnmatch.fnmatch(block["Status"], scenario.report), f"reported: {block}")
        demand(len(block.get("Diagnostic-Code", "")) < 2000, "a very long diagnostic")
    demand(len(told.content) < 20000, f"a report of {len(told.content)} octets")
    printable = {*b"\t\r\n", *range(32, 127)} | (set(range(128, 256)) if scenario.body == "8BITMIME" else set())
    demand(printable.issuperset(told.content), f"octets in a report: {set(told.content) - printable}")
    for text in scenario.says:
        demand(text in told.text, f"{text!r} is not in {told.text!r}")


def reports_for(field, number):
    return [report.read(message.content) for message in field.collector.messages
            if message.recipients[0].split(" ")[0] == f"<{sender(number)}>"]


def check_scenario(scenario, number, field, content):
    hosts = field.hosts[number]
    check_copies(scenario, number, hosts, content)
    check_times(scenario, hosts)
    check_reports(scenario, number, reports_for(field, number))


def run(program, folder, dns_port):
    scenarios = SCENARIOS
    field = Field(scenarios)
    relay = Relay(program, folder, "--hostname", "relay.example", "--resolver", f"127.0.0.1:{dns_port}",
                  "--mx-port", str(field.port), "--allow", "127.0.0.0/8", "--mx-loopback",
                  "--retry-first", str(RETRY_S), "--retry-max", str(RETRY_S), "--timeout", str(TIMEOUT_S))
    relay.start()
    contents = submit(relay.port, scenarios)
    failed = 0
    try:
        wait_for("the queue is empty", 60, lambda: "example" not in relay.listed())
    except Fault as wrong:
        failed += 1
        print(f"FAILED: {wrong}\n{relay.listed()}")
    for i, scenario in enumerate(scenarios):
        try:
            check_scenario(scenario, i, field, contents[i])
            print(f"ok: {scenario.title}")
        except Fault as wrong:
            failed += 1
            print(f"FAILED: s{i} {scenario.title}: {wrong}")
    demand(all(message.sender.startswith("<>") for message in field.collector.messages), "a report from somebody")
    demand(relay.alive() and relay.stop() == 0, "relay did not end well")
    demand(not relay.left(), f"left in the spool: {relay.left()}")
    print(f"{len(scenarios) - failed} of {len(scenarios)} as they should be")
    return failed != 0


if __name__ == "__main__":
    if sys.argv[1] == "dns":
        print("\n".join(dns_lines(SCENARIOS)))
    else:
        try:
            sys.exit(run(*sys.argv[2:]))
        except Fault as fault:
            sys.exit(f"FAILED: {fault}")
