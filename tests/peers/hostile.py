"""A server that does what real ones do not, or only now and then: hostile.py SEND

Runs SEND against scripts, each of which is one connection's dialogue as the server sees it, and compares the outcomes
it prints, its exit status, and the messages that arrived. A script's lines:

    C: LINE   this line comes from the client; several in a row come before any reply: the client has pipelined.
              {size} stands for the octets of the message.
    S: LINE   is sent. Behind "slow", each octet by itself.
    body      octets up to the lone dot come, and are the message (or what is named behind: "body empty")
    chunks    BDAT commands with exactly as many octets as each names come, up to LAST; together they are the message.
              What is to be replied to each is "250 2.0.0 chunk", but to the last, whose reply is up to the script.
    chunk     a BDAT command and its octets come, and it is not the last
    take N    N octets of the message come
    quiet     nothing comes for a moment: the client waits
    quit      QUIT comes and is answered, and the client closes
    end       the client closes, whether it says QUIT before or not
    close     our end is closed; what the client has yet to say is not heard
    shut      our end is closed
    reset     the connection is reset
    gone      the client ends, although what it has said is not read
    flood L   the line L is sent again and again until the client closes
    raw X     octets in Python's notation are sent

Outcomes are patterns, for what a reset may cut short at one place or another.
"""
import concurrent.futures
import dataclasses
import fnmatch
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading

TIME_OUT = 30


class Wrong(Exception):
    """The client did not do what the script says."""


# -- the server -----------------------------------------------------------------------------------------------


class Connection:
    """One dialogue, told by its script."""

    def __init__(self, stream, message, client_ended):
        self.stream, self.message, self.client_ended = stream, message, client_ended
        self.left, self.slow = b"", False
        stream.settimeout(TIME_OUT)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def more(self):
        octets = self.stream.recv(65536)
        if not octets:
            raise Wrong("the client closed the connection")
        self.left += octets

    def octets(self, count):
        while len(self.left) < count:
            self.more()
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def line(self):
        while b"\r\n" not in self.left:
            self.more()
        line, self.left = self.left.split(b"\r\n", 1)
        return line

    def send(self, text):
        for piece in [text[i : i + 1] for i in range(len(text))] if self.slow else [text]:
            self.stream.sendall(piece)

    def run(self, script):
        for step in script.strip().splitlines():
            word, _, rest = step.partition(" ")
            getattr(self, {"C:": "client", "S:": "server"}.get(word, "do_" + word))(rest)

    def client(self, expected):
        line, expected = self.line(), expected.format(size=len(self.message)).encode()
        if line != expected:
            raise Wrong(f"{line!r} came, not {expected!r}")

    def server(self, line):
        self.send(line.encode() + b"\r\n")

    def do_raw(self, octets):
        self.send(octets.encode().decode("unicode_escape").encode("latin-1"))

    def do_slow(self, _):
        self.slow = True

    def compare(self, what, which):
        wanted = b"" if which == "empty" else self.message
        if what != wanted:
            raise Wrong(f"{len(what)} octets arrived, which are not the {len(wanted)} of the message: {what[:200]!r}")

    def do_body(self, which):
        text, at = bytearray(b"\r\n" + self.left), 0
        while (end := text.find(b"\r\n.\r\n", at)) < 0:
            at, self.left = max(0, len(text) - 4), b""
            self.more()
            text += self.left
        self.left = bytes(text[end + 5 :])
        self.compare(text[: end + 2].replace(b"\r\n.", b"\r\n")[2:], which)

    def do_chunks(self, which):
        pieces, last = [], False
        while not last:
            piece, last = self.chunk()
            pieces.append(piece)
            if not last:
                self.server("250 2.0.0 chunk")
        self.compare(b"".join(pieces), which)

    def chunk(self):
        line = self.line()
        verb, size, *rest = line.split(b" ")
        if verb != b"BDAT" or rest not in ([], [b"LAST"]):
            raise Wrong(f"{line!r} is no BDAT")
        return self.octets(int(size)), bool(rest)

    def do_chunk(self, _):
        if self.chunk()[1]:
            raise Wrong("the first chunk is the last")

    def do_take(self, count):
        self.octets(int(count))

    def do_quiet(self, _):
        if self.left or select.select([self.stream], [], [], 0.1)[0]:
            raise Wrong("the client did not wait")

    def do_quit(self, _):
        self.client("QUIT")
        self.server("221 2.0.0 bye")
        if self.left or self.stream.recv(1):
            raise Wrong("the client went on")

    def do_end(self, _):
        if not self.left:
            self.left = self.stream.recv(65536)
        if self.left:
            self.do_quit("")

    def do_close(self, _):
        self.stream.shutdown(socket.SHUT_WR)
        try:
            while self.stream.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def do_shut(self, _):
        self.stream.shutdown(socket.SHUT_WR)

    def do_gone(self, _):
        if not self.client_ended.wait(TIME_OUT):
            raise Wrong("the client did not end")

    def do_reset(self, _):
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()

    def do_flood(self, line):
        try:
            for _ in range(1000000):
                self.server(line)
        except (ConnectionResetError, BrokenPipeError):
            return
        raise Wrong("the client took all of it")


class Server(threading.Thread):
    """Serves its scripts, one connection each, in their order. Without any it refuses connections."""

    def __init__(self, scripts, message):
        super().__init__(daemon=True)
        self.scripts, self.message, self.wrong, self.served = scripts, message, None, 0
        self.client_ended = threading.Event()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # so that BIG never fits
        self.listener.settimeout(TIME_OUT)
        if scripts:
            self.listener.listen()
        self.port = self.listener.getsockname()[1]

    def run(self):
        try:
            for script in self.scripts:
                with self.listener.accept()[0] as stream:
                    Connection(stream, self.message, self.client_ended).run(script)
                    self.served += 1
        except (Wrong, OSError, ValueError) as error:
            self.wrong = f"{type(error).__name__}: {error}"
        finally:
            self.listener.close()

    def verdict(self):
        self.client_ended.set()
        self.join(TIME_OUT)
        if self.wrong is None and self.served < len(self.scripts):
            return f"{self.served} of {len(self.scripts)} dialogues took place"
        return self.wrong


# -- the client -----------------------------------------------------------------------------------------------

TEXT = b"Subject: hostile\n\n.\n..\n.dot\nend\n"
BIG = b"Subject: big\n\n" + b"".join(b".line %d of rather many\n" % i for i in range(300000))


@dataclasses.dataclass
class Case:
    name: str
    status: int
    outcomes: str  # of each recipient, "; " between them: OUTCOME STAGE CODE
    servers: list  # of lists of scripts; or one script
    options: str = ""
    host: str = "127.0.0.1"
    text: bytes = TEXT
    copies: int = 1

    def run(self, send):
        message = self.text.replace(b"\n", b"\r\n")
        scripts = [[self.servers]] if isinstance(self.servers, str) else self.servers
        servers = [Server(each, message) for each in scripts]
        for server in servers:
            server.start()
        expected = [f"{to}@x.example {outcome}" for to, outcome in zip("bcdefg", self.outcomes.split("; "))]
        command = [send, "--trace", "--ehlo", "client.example", "--from", "a@sender.example"]
        for server in servers:
            command += ["--server", f"{self.host}:{server.port}"]
        for line in expected:
            command += ["--to", line.split(" ")[0]]
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.text)
            file.flush()
            # a client that hangs is ended by the other program, so that what it said is not lost
            command = ["timeout", "60", *command, *self.options.split(), file.name]
            ran = subprocess.run(command, capture_output=True)
        lines = ran.stdout.decode().splitlines()
        wrong = [server.verdict() for server in servers]
        found = [" ".join(line.split(" ")[:4]) for line in lines]
        expected *= self.copies
        if any(wrong):
            return f"{'; '.join(filter(None, wrong))}", ran
        if len(found) != len(expected) or not all(map(fnmatch.fnmatchcase, found, expected)):
            return f"outcomes {found}", ran
        if ran.returncode != self.status:
            return f"status {ran.returncode}, not {self.status}", ran
        return None, ran


# -- the cases ------------------------------------------------------------------------------------------------


def hello(*extensions):
    lines = ["mx.example", *extensions]
    return "\n".join(
        ["S: 220 mx.example ESMTP", "C: EHLO client.example"]
        + [f"S: 250{'-' if i + 1 < len(lines) else ' '}{line}" for i, line in enumerate(lines)]
    )


def envelope(count, end="DATA", parameters=""):
    """A pipelined group for so many recipients."""
    lines = ["C: MAIL FROM:<a@sender.example>" + parameters]
    lines += [f"C: RCPT TO:<{to}@x.example>" for to in "bcdefg"[:count]]
    return "\n".join(lines + ([f"C: {end}"] if end else []))


def replies(*lines):
    return "\n".join("S: " + line for line in lines)


def at_once(*lines):
    """In one segment, so that the client has read the last when it has read the first."""
    return "raw " + "".join(line + "\\r\\n" for line in lines)


def script(*parts):
    return "\n".join(parts)


PIPELINED = hello("PIPELINING")
PLAIN = hello("HELP")
CHUNKED = hello("PIPELINING", "CHUNKING")
OK = "250 2.0.0 ok"
GO = "354 go"
NOT_SENT = "not-sent"

CASES = [
    # -- refusals inside a pipelined group
    Case("one of three refused", 1, "delivered final 250; rejected rcpt 550; delivered final 250",
         script(PIPELINED, envelope(3), replies(OK, OK, "550 5.1.1 no", OK, GO), "body", replies(OK), "quit")),
    Case("one of three deferred", 75, "delivered final 250; delivered final 250; deferred rcpt 450",
         script(PIPELINED, envelope(3), replies(OK, OK, OK, "450 4.2.1 later", GO), "body", replies(OK), "quit")),
    Case("one each way", 1, "deferred rcpt 451; rejected rcpt 553; delivered final 250",
         script(PIPELINED, envelope(3), replies(OK, "451 4.3.0 no", "553 5.1.3 no", OK, GO), "body", replies(OK),
                "quit")),
    Case("251 is a yes", 0, "delivered final 250",
         script(PIPELINED, envelope(1), replies(OK, "251 2.1.5 forwarded", GO), "body", replies(OK), "quit")),
    Case("MAIL refused", 1, "rejected mail 550; rejected mail 550",
         script(PIPELINED, envelope(2), replies("550 5.7.1 not you", "503 5.5.1 no", "503 5.5.1 no", "503 5.5.1 no"),
                "end")),
    Case("MAIL deferred", 75, "deferred mail 451; deferred mail 451",
         script(PIPELINED, envelope(2), replies("451 4.7.1 grey", "503 5.5.1 no", "503 5.5.1 no", "503 5.5.1 no"),
                "end")),
    Case("MAIL refused, 354 all the same", 1, "rejected mail 550",
         script(PIPELINED, envelope(1), replies("550 5.7.1 not you", "503 5.5.1 no", GO), "body empty",
                replies("554 5.5.1 nobody"), "end")),
    Case("all refused", 1, "rejected rcpt 550; rejected rcpt 551",
         script(PIPELINED, envelope(2), replies(OK, "550 5.1.1 no", "551 5.1.6 no", "554 5.5.1 nobody"), "end")),
    Case("all refused, 354 all the same [K14]", 1, "rejected rcpt 550; deferred rcpt 450",
         script(PIPELINED, envelope(2), replies(OK, "550 5.1.1 no", "450 4.2.1 no", GO), "body empty",
                replies("554 5.5.1 nobody"), "end")),
    Case("all refused, 354 all the same, and an empty message taken", 1, "rejected rcpt 550",
         script(PIPELINED, envelope(1), replies(OK, "550 5.1.1 no", GO), "body empty", replies(OK), "end")),
    Case("DATA refused [C81]", 1, "rejected data 554; rejected rcpt 550",
         script(PIPELINED, envelope(2), replies(OK, OK, "550 5.1.1 no", "554 5.3.0 no"), "end")),
    Case("DATA deferred", 75, "deferred data 451",
         script(PIPELINED, envelope(1), replies(OK, OK, "451 4.3.0 later"), "end")),
    Case("message refused", 1, "rejected final 554; rejected final 554",
         script(PIPELINED, envelope(2), replies(OK, OK, OK, GO), "body", replies("554 5.7.1 spam"), "end")),
    Case("message deferred", 75, "deferred final 452",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies("452 4.3.1 full"), "end")),

    # -- more recipients than the server takes
    Case("452 4.5.3 after two", 0, "delivered final 250; delivered final 250; delivered final 250",
         script(PIPELINED, envelope(3), replies(OK, OK, OK, "452 4.5.3 too many", GO), "body", replies(OK),
                "C: MAIL FROM:<a@sender.example>", "C: RCPT TO:<d@x.example>", "C: DATA", replies(OK, OK, GO), "body",
                replies(OK), "quit")),
    Case("452 4.5.3 after one, twice", 1, "delivered final 250; rejected final 554; delivered final 250",
         script(PIPELINED, envelope(3), replies(OK, OK, "452 4.5.3 too many", "452 4.5.3 too many", GO), "body",
                replies(OK), "C: MAIL FROM:<a@sender.example>", "C: RCPT TO:<c@x.example>", "C: RCPT TO:<d@x.example>",
                "C: DATA", replies(OK, OK, "452 4.5.3 too many", GO), "body", replies("554 5.7.1 spam"),
                "C: MAIL FROM:<a@sender.example>", "C: RCPT TO:<d@x.example>", "C: DATA", replies(OK, OK, GO), "body",
                replies(OK), "quit")),
    Case("452 4.5.3 to the first", 75, "deferred rcpt 452",
         script(PIPELINED, envelope(1), replies(OK, "452 4.5.3 too many", "554 5.5.1 nobody"), "end")),
    Case("452 of another kind is final for now", 75, "delivered final 250; deferred rcpt 452",
         script(PIPELINED, envelope(2), replies(OK, OK, "452 4.2.2 full", GO), "body", replies(OK), "quit")),
    Case("452 4.5.3, and the connection is lost in the second transaction", 75,
         "delivered final 250; not-sent mail -",
         script(PIPELINED, envelope(2), replies(OK, OK, "452 4.5.3 too many", GO), "body", replies(OK),
                "C: MAIL FROM:<a@sender.example>", "C: RCPT TO:<c@x.example>", "C: DATA", "close")),

    # -- 421 at each place
    Case("421 greets", 75, "deferred greeting 421", script(replies("421 4.3.2 busy"), "end")),
    Case("421 to EHLO", 75, "deferred hello 421",
         script("S: 220 mx.example", "C: EHLO client.example", replies("421 4.3.2 busy"), "close")),
    Case("421 to MAIL", 75, "deferred mail 421; deferred mail 421",
         script(PIPELINED, envelope(2), replies("421 4.3.2 busy"), "close")),
    Case("421 to the second of three [K15]", 75, "deferred rcpt 421; deferred rcpt 421; deferred rcpt 421",
         script(PIPELINED, envelope(3), replies(OK, OK, "421 4.3.2 busy"), "close")),
    Case("421 behind a refusal", 1, "rejected rcpt 550; deferred rcpt 421",
         script(PIPELINED, envelope(2), replies(OK, "550 5.1.1 no", "421 4.3.2 busy"), "close")),
    Case("421 to DATA", 75, "deferred data 421",
         script(PIPELINED, envelope(1), replies(OK, OK, "421 4.3.2 busy"), "close")),
    Case("421 to the message", 75, "deferred final 421",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies("421 4.3.2 busy"), "close")),
    Case("421 to QUIT", 0, "delivered final 250",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "C: QUIT",
                replies("421 4.3.2 busy"), "close")),

    # -- connections that are lost
    Case("closed at once", 75, "not-sent greeting -", "close"),
    Case("reset at once", 75, "not-sent * -", "reset"),
    Case("closed at EHLO", 75, "not-sent hello -", script("S: 220 mx.example", "C: EHLO client.example", "close")),
    Case("closed at MAIL", 75, "not-sent mail -", script(PIPELINED, envelope(1), "close")),
    Case("closed at the second RCPT", 75, "not-sent data -; not-sent rcpt -",
         script(PIPELINED, envelope(2), replies(OK, OK), "close")),
    Case("closed at DATA", 75, "not-sent data -", script(PIPELINED, envelope(1), replies(OK, OK), "close")),
    Case("closed inside the message [C82]", 75, "not-sent data -",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "take 100000", "shut", "gone"), text=BIG),
    Case("reset inside the message", 75, "not-sent * -",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "take 100000", "reset"), text=BIG),
    Case("closed after the dot [C82]", 76, "uncertain final -; uncertain final -",
         script(PIPELINED, envelope(2), replies(OK, OK, OK, GO), "body", "close")),
    Case("reset after the dot", 76, "uncertain final -; rejected rcpt 550",
         script(PIPELINED, envelope(2), replies(OK, OK, "550 5.1.1 no", GO), "body", "reset")),
    Case("half a reply after the dot", 76, "uncertain final -",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", "raw 250-2.0.0 ok\\r\\n250 2.0", "close")),
    Case("closed instead of an answer to QUIT", 0, "delivered final 250",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "C: QUIT", "close")),
    Case("no reply to the dot", 76, "uncertain final -",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", "end"), "--timeout 1"),
    Case("no reply to MAIL", 75, "not-sent mail -", script(PIPELINED, envelope(1), "end"), "--timeout 1"),

    # -- replies that come too early
    Case("refused right behind the 354", 1, "rejected data 550",
         script(PIPELINED, envelope(1), at_once(OK, OK, GO, "550 5.3.0 no"), "gone"), text=BIG),
    Case("refused inside the message", 1, "rejected data 552",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "take 100000", replies("552 5.3.4 too much"), "gone"),
         text=BIG),
    Case("refused inside the message, and reset", 1, "rejected data 552",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "take 100000", replies("552 5.3.4 too much"), "reset"),
         text=BIG),
    Case("refused behind the dot, and reset", 1, "rejected final 552",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies("552 5.3.4 too much"), "reset")),
    Case("accepted inside the message is not accepted [K13]", 75, "not-sent data -",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "take 100000", replies(OK), "gone"), text=BIG),
    Case("a second greeting [K06]", 75, "not-sent hello -", script(at_once("220 mx.example", "220 mx.example"), "end")),
    Case("replies to commands that were not said [K06]", 75, "not-sent hello -",
         script(at_once("220 mx.example", "250 mx.example", OK, OK, GO, OK), "end")),

    # -- replies of odd shapes
    Case("each octet of each reply by itself", 0, "delivered final 250; delivered final 250",
         script("slow", PIPELINED, envelope(2), replies(OK, OK, OK, GO), "body", replies(OK), "quit")),
    Case("several lines in each reply", 1, "delivered final 250; rejected rcpt 550",
         script(replies("220-mx.example", "220-no spam", "220 ESMTP"), "C: EHLO client.example",
                replies("250-mx.example", "250-X-UNKNOWN a b", "250 PIPELINING"), envelope(2),
                replies("250-2.0.0 a", "250 2.0.0 b", "250-2.1.5 a", "250-2.1.5", "250 2.1.5 c", "550-5.1.1 a",
                        "550 5.1.1 b", "354-go", "354 on"),
                "body", replies("250-2.0.0 a", "250 2.0.0 b"), "quit")),
    Case("no text in any reply", 0, "delivered final 250",
         script("S: 220", "C: EHLO client.example", "S: 250-", "S: 250-PIPELINING", "S: 250", envelope(1),
                replies("250", "250", "354"), "body", replies("250"), "quit")),
    Case("other words than in the RFC [C14]", 0, "delivered final 252",
         script(PIPELINED, envelope(1), replies("252 well", "259 well", "355 well"), "body", replies("252 well"),
                "quit")),
    Case("250 to DATA [C81] [K13]", 75, "deferred data 250",
         script(PIPELINED, envelope(1), replies(OK, OK, OK), "end")),
    Case("354 to MAIL", 75, "not-sent mail -", script(PIPELINED, envelope(1), at_once(GO, OK, GO), "end")),
    Case("HTTP [K19]", 75, "not-sent greeting -", script("S: HTTP/1.1 400 Bad Request", "end")),
    Case("SSH [K19]", 75, "not-sent greeting -", script(replies("SSH-2.0-OpenSSH_9.2"), "end")),
    Case("TLS [K19]", 75, "not-sent greeting -", script("raw \\x15\\x03\\x01\\x00\\x02\\x02\\x28\\r\\n", "end")),
    Case("an endless greeting [K01]", 75, "not-sent greeting -",
         "flood 220-" + "x" * 60),
    Case("codes that differ within a reply [C15]", 75, "not-sent mail -",
         script(PIPELINED, envelope(1), replies("250-ok", "550 no"), "end")),

    # -- EHLO
    Case("EHLO not known", 0, "delivered final 250; delivered final 250",
         script("S: 220 mx.example", "C: EHLO client.example", replies("502 5.5.1 what"), "C: HELO client.example",
                replies(OK), "C: MAIL FROM:<a@sender.example>", "quiet", replies(OK), "C: RCPT TO:<b@x.example>",
                "quiet", replies(OK), "C: RCPT TO:<c@x.example>", "quiet", replies(OK), "C: DATA", "quiet",
                replies(GO), "body", replies(OK), "quit")),
    Case("neither EHLO nor HELO known", 1, "rejected hello 502",
         script("S: 220 mx.example", "C: EHLO client.example", replies("500 5.5.1 what"), "C: HELO client.example",
                replies("502 5.5.1 what"), "end")),
    Case("EHLO refused for now", 75, "deferred hello 450",
         script("S: 220 mx.example", "C: EHLO client.example", replies("450 4.7.1 later"), "end")),
    Case("not welcome", 1, "rejected greeting 554", script(replies("554 5.7.1 go away"), "end")),
    Case("no mail here", 1, "rejected greeting 521", script(replies("521 5.3.2 no mail"), "end")),
    Case("no PIPELINING: one command at a time", 1, "rejected rcpt 550; delivered final 250",
         script(PLAIN, envelope(0, ""), "quiet", replies(OK), "C: RCPT TO:<b@x.example>", "quiet",
                replies("550 5.1.1 no"), "C: RCPT TO:<c@x.example>", "quiet", replies(OK), "C: DATA", "quiet",
                replies(GO), "body", replies(OK), "quit")),
    Case("PIPELINING not wanted", 0, "delivered final 250",
         script(PIPELINED, envelope(0, ""), "quiet", replies(OK), "C: RCPT TO:<b@x.example>", "quiet", replies(OK),
                "C: DATA", "quiet", replies(GO), "body", replies(OK), "quit"), "--no-pipelining"),

    # -- parameters
    Case("SIZE, 8BITMIME", 0, "delivered final 250",
         script(hello("PIPELINING", "SIZE 1000", "8BITMIME"), envelope(1, "DATA", " SIZE={size} BODY=8BITMIME"),
                replies(OK, OK, GO), "body", replies(OK), "quit")),
    Case("more than SIZE allows", 1, "rejected mail 552", script(hello("PIPELINING", "SIZE 20"), "end")),
    Case("SMTPUTF8 not offered", 1, "rejected mail 553", script(PIPELINED, "end"), "--smtputf8"),
    Case("DSN", 0, "delivered final 250",
         script(hello("PIPELINING", "DSN"), "C: MAIL FROM:<a@sender.example> RET=HDRS ENVID=Q+2BQ+3D1",
                "C: RCPT TO:<b@x.example> NOTIFY=SUCCESS,DELAY", "C: DATA", replies(OK, OK, GO), "body", replies(OK),
                "quit"), "--ret hdrs --envid Q+Q=1 --notify success,delay"),
    Case("DSN not offered", 0, "delivered final 250",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit"),
         "--ret hdrs --envid QQ --notify never"),
    Case("8-bit text where it is not offered", 1, "rejected mail 554", script(hello("HELP"), "end"),
         text=b"Subject: 8\n\n\xc3\xa9\n"),

    # -- CHUNKING
    Case("chunks", 0, "delivered final 250; delivered final 250",
         script(CHUNKED, envelope(2, ""), replies(OK, OK, OK), "chunks", replies(OK), "quit"), text=BIG),
    Case("chunks, byte by byte", 0, "delivered final 250",
         script("slow", CHUNKED, envelope(1, ""), replies(OK, OK), "chunks", replies(OK), "quit"), text=BIG),
    Case("chunks refused at the end", 1, "rejected final 552",
         script(CHUNKED, envelope(1, ""), replies(OK, OK), "chunks", replies("552 5.3.4 too much"), "end"), text=BIG),
    Case("the first chunk refused", 1, "rejected data 552",
         script(CHUNKED, envelope(1, ""), replies(OK, OK), "chunk", replies("552 5.3.4 too much"), "close"), text=BIG),
    Case("a chunk for nobody", 1, "rejected rcpt 550; rejected rcpt 550",
         script(CHUNKED, envelope(2, ""), "chunks",
                replies(OK, "550 5.1.1 no", "550 5.1.1 no", "503 5.5.1 no"), "end")),
    Case("a chunk for one of two, refused", 1, "rejected rcpt 550; rejected final 554",
         script(CHUNKED, envelope(2, ""), "chunks", replies(OK, "550 5.1.1 no", OK, "554 5.7.1 spam"), "end")),
    Case("chunks, one recipient refused", 1, "delivered final 250; rejected rcpt 550",
         script(CHUNKED, envelope(2, ""), replies(OK, OK, "550 5.1.1 no"), "chunks", replies(OK), "quit"), text=BIG),
    Case("closed after the last chunk [C82]", 76, "uncertain final -",
         script(CHUNKED, envelope(1, ""), replies(OK, OK), "chunks", "close"), text=BIG),
    Case("reset inside a chunk", 75, "not-sent * -",
         script(CHUNKED, envelope(1, ""), replies(OK, OK), "take 100000", "reset"), text=BIG),
    Case("closed inside a chunk", 75, "not-sent data -",
         script(CHUNKED, envelope(1, ""), replies(OK, OK), "take 100000", "shut", "gone"), text=BIG),
    Case("BINARYMIME is not asked for text", 0, "delivered final 250",
         script(hello("PIPELINING", "CHUNKING", "8BITMIME", "BINARYMIME"), envelope(1, "", " BODY=8BITMIME"),
                replies(OK, OK), "chunks", replies(OK), "quit"), text=BIG),
    Case("CHUNKING not wanted", 0, "delivered final 250",
         script(CHUNKED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit"), "--no-chunking", text=BIG),

    # -- alternates
    Case("the first server is busy", 0, "delivered final 250",
         [[script(replies("421 4.3.2 busy"), "end")],
          [script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit")]]),
    Case("the first server does not want us", 0, "delivered final 250",
         [[script(replies("554 5.7.1 go away"), "end")],
          [script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit")]]),
    Case("the first server closes", 0, "delivered final 250",
         [["close"], [script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit")]]),
    Case("the first server is not there", 0, "delivered final 250",
         [[], [script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit")]]),
    Case("the alternates are not for what was begun", 75, "not-sent mail -",
         [[script(PIPELINED, envelope(1), "close")], []]),
    Case("a server by its name", 0, "delivered final 250",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit"), host="localhost"),
    Case("no server is there", 75, "not-sent connect -", [[], []]),
    Case("all servers are busy", 75, "deferred greeting 421",
         [[script(replies("421 4.3.2 busy"), "end")], [script(replies("421 4.3.2 busy"), "end")]]),

    # -- copies over one connection
    Case("three copies, the next envelope right behind the last message's end", 0, "delivered final 250",
         script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", envelope(1), replies(OK, OK, OK, GO), "body",
                envelope(1), replies(OK, OK, OK, GO), "body", replies(OK), "quit"), "--count 3", copies=3),
    Case("the server closes between two copies: the second goes over another connection", 0, "delivered final 250",
         [[script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", envelope(1), replies(OK), "close"),
           script(PIPELINED, envelope(1), replies(OK, OK, GO), "body", replies(OK), "quit")]], "--count 2", copies=2),

    # -- LMTP
    Case("LMTP: an outcome for each", 1, "delivered final 250; deferred final 452; rejected final 550",
         script("S: 220 mx.example LMTP", "C: LHLO client.example", replies("250-mx.example", "250 PIPELINING"),
                envelope(3), replies(OK, OK, OK, OK, GO), "body",
                replies("250-2.1.5 b", "250 2.1.5 ok", "452 4.2.2 full", "550 5.2.1 no"), "end"), "--lmtp"),
    Case("LMTP: refused recipients have no reply of their own", 1,
         "delivered final 250; rejected rcpt 550; deferred final 452",
         script("S: 220 mx.example LMTP", "C: LHLO client.example", replies("250-mx.example", "250 PIPELINING"),
                envelope(3), replies(OK, OK, "550 5.1.1 no", OK, GO), "body", replies(OK, "452 4.2.2 full"), "end"),
         "--lmtp"),
    Case("LMTP: closed between the replies [K16]", 76, "delivered final 250; uncertain final -; uncertain final -",
         script("S: 220 mx.example LMTP", "C: LHLO client.example", replies("250-mx.example", "250 PIPELINING"),
                envelope(3), replies(OK, OK, OK, OK, GO), "body", replies(OK), "close"), "--lmtp"),
    Case("LMTP: DATA where CHUNKING is offered too", 75, "delivered final 250; deferred final 452",
         script("S: 220 mx.example LMTP", "C: LHLO client.example",
                replies("250-mx.example", "250-PIPELINING", "250 CHUNKING"), envelope(2), replies(OK, OK, OK, GO),
                "body", replies(OK, "452 4.2.2 full"), "quit"), "--lmtp", text=BIG),
]


def main(send):
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for case, result in zip(CASES, pool.map(lambda case: case.run(send), CASES)):
            wrong, ran = result
            if wrong is None:
                print("ok:", case.name)
                continue
            failed += 1
            print("FAILED:", case.name, wrong, sep="\n    ", file=sys.stderr)
            print(ran.stdout.decode(), ran.stderr[-2000:].decode("utf-8", "replace"), sep="", file=sys.stderr)
    print(len(CASES) - failed, "dialogues as they should be,", failed, "not")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
