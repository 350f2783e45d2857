"""TLS as nobody should speak it: tls_hostile.py SEND FOLDER PROCESS PORT PROCESS PORT MAILDIR

First SEND meets servers that cut handshakes off, never end them, or talk past TLS: it has to tell why it gave up, in
time, and nothing but hello and STARTTLS may have left it. Then clients do the same to two inboxes, each told by its
PROCESS and PORT, the first with STARTTLS, the second with TLS from the first octet on: they have to file nothing, to
end each session, and to keep their descriptors.

FOLDER has what certificates.sh makes, a password, and a message.
"""
import concurrent.futures
import os
import re
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

TIME_OUT = 20
SECRETS = [b"MAIL", b"AUTH", b"secret", b"c2VjcmV0", b"Subject"]


class Wrong(Exception):
    """The other side did not do what it should."""


def server_context(folder, certificate="server"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/{certificate}.chain")
    return context


def client_context(newest=ssl.TLSVersion.TLSv1_3):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = newest
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def reset(stream):
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


class Half:
    """One end of a connection, in clear or inside TLS, whose records go where we want them to."""

    def __init__(self, stream):
        self.stream, self.tls, self.left, self.heard = stream, None, b"", b""
        stream.settimeout(TIME_OUT)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, context, server):
        """TLS, up to where nothing is left to say without having heard more: what is to be sent."""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server)
        return self.step()

    def step(self):
        try:
            self.tls.do_handshake()
            self.shaken = True
        except ssl.SSLWantReadError:
            self.shaken = False
        return self.outgoing.read()

    def take(self):
        octets = self.stream.recv(65536)
        if not octets:
            raise Wrong("the connection was closed")
        self.heard += octets
        return octets

    def shake(self, first=b""):
        self.stream.sendall(first)
        while not self.shaken:
            self.incoming.write(self.take())
            self.stream.sendall(self.step())

    def more(self):
        if self.tls is None:
            self.left += self.take()
            return
        while True:
            try:
                octets = self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(self.take())
                continue
            if not octets:
                raise Wrong("TLS was ended")
            self.left += octets
            return

    def line(self):
        while b"\r\n" not in self.left:
            self.more()
        line, self.left = self.left.split(b"\r\n", 1)
        return line

    def reply(self):
        line = self.line()
        while line[3:4] == b"-":
            line = self.line()
        return line

    def expect(self, start):
        line = self.line()
        if not line.startswith(start):
            raise Wrong(f"{line!r} came, not {start!r}")

    def expect_reply(self, start):
        line = self.reply()
        if not line.startswith(start):
            raise Wrong(f"{line!r} came, not {start!r}")

    def records(self, octets):
        self.tls.write(octets)
        return self.outgoing.read()

    def say(self, octets):
        self.stream.sendall(octets if self.tls is None else self.records(octets))

    def notice(self):
        """The octets of a close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        return self.outgoing.read()

    def end_output(self):
        try:
            self.stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side was faster

    def listen_to_the_end(self):
        """What else comes, as it is on the wire."""
        heard = self.left
        try:
            while octets := self.stream.recv(65536):
                heard += octets
        except OSError:
            pass
        self.heard += heard
        return heard


# -- servers, which send meets --------------------------------------------------------------------------------


def greet(half, offers=(b"STARTTLS",)):
    half.say(b"220 mx.example ESMTP\r\n")
    half.expect(b"EHLO client.example")
    lines = [b"mx.example", *offers]
    half.say(b"".join(b"250%s%s\r\n" % (b" " if line is lines[-1] else b"-", line) for line in lines))


def up_to_tls(half, wrapped):
    if wrapped:
        return
    greet(half)
    half.expect(b"STARTTLS")
    half.say(b"220 2.0.0 go\r\n")


def flight(half, folder, certificate="server"):
    """What a server says when it has heard the client's hello."""
    half.begin(server_context(folder, certificate), True)
    octets = b""
    while not octets:
        half.incoming.write(half.take())
        octets = half.step()
    return octets


def record_ends(octets):
    """Where its records end, and where their heads do."""
    at, ends = 0, []
    while at < len(octets):
        ends += [at, at + 3, at + 5]
        at += 5 + int.from_bytes(octets[at + 3 : at + 5], "big")
    return ends + [at]


class Case:
    """A server as send meets it: act does the rest behind the 220, or from the start where all is inside TLS."""

    def __init__(self, name, reason, act, wrapped=False, tls=True, status=75, stage="starttls", options="", more=None):
        self.name, self.reason, self.act, self.wrapped, self.tls = name, reason, act, wrapped, tls
        self.status, self.stage, self.options, self.more = status, stage, options, more
        self.wrong, self.heard = None, b""

    def serve(self, listener):
        try:
            for act in [self.act, *([self.more] if self.more else [])]:
                with listener.accept()[0] as stream:
                    half = Half(stream)
                    try:
                        if self.tls and act is self.act:
                            up_to_tls(half, self.wrapped)
                            half.heard = b""
                        act(half)
                    finally:
                        if act is self.act:
                            self.heard = half.heard
        except (Wrong, OSError, ssl.SSLError) as error:
            self.wrong = f"{type(error).__name__}: {error}"

    def run(self, send, folder):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(TIME_OUT)
            thread = threading.Thread(target=self.serve, args=[listener], daemon=True)
            thread.start()
            policy = "wrapped" if self.wrapped else "required"
            options = self.options or f"--tls {policy} --user user --password-file {folder}/password"
            if "opportunistic" not in options:
                options += f" --ca {folder}/ca.pem"
            begin = time.monotonic()
            ran = subprocess.run(
                ["timeout", "30", send, "--server", f"127.0.0.1:{listener.getsockname()[1]}", "--ehlo", "client.example"]
                + ["--from", "a@sender.example", "--to", "b@x.example", *options.split(), f"{folder}/message"],
                capture_output=True,
            )
            took = time.monotonic() - begin
            thread.join(TIME_OUT)
        said = ran.stdout.decode("utf-8", "replace")
        words = said.split()
        if self.wrong:
            return self.wrong, ran
        if took > 10:
            return f"it took {took:.1f} s", ran
        if ran.returncode != self.status:
            return f"status {ran.returncode}, not {self.status}", ran
        if len(words) < 3 or not re.fullmatch(self.stage, words[2]):
            return f"{said!r}, whose stage is not {self.stage}", ran
        if not re.search(self.reason, said, re.I):
            return f"{said!r} does not say {self.reason!r}", ran
        if self.status == 75:
            for secret in SECRETS:
                if secret in self.heard:
                    return f"{secret!r} was sent: {self.heard[-300:]!r}", ran
        return None, ran


def cut(folder, where, hard=False):
    """The handshake breaks off at an octet."""

    def act(half):
        half.stream.sendall(flight(half, folder)[:where])
        if hard:
            reset(half.stream)
        else:
            half.end_output()
            half.listen_to_the_end()

    return act


def says(octets, slowly=False):
    """Something else than a handshake, to who has begun one."""

    def act(half):
        half.take()  # its hello
        try:
            for piece in [octets[i : i + 1] for i in range(len(octets))] if slowly else [octets]:
                half.stream.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        half.listen_to_the_end()

    return act


def silent(half):
    half.listen_to_the_end()


def trickles(folder):
    """Its part comes, an octet now and then: each of them is progress, and the end is never."""

    def act(half):
        octets = flight(half, folder)
        try:
            for octet in octets:
                half.stream.sendall(bytes([octet]))
                if select.select([half.stream], [], [], 0.2)[0]:
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        half.listen_to_the_end()

    return act


def injects(cut_at):
    """Clear text behind the 220, in the segment with it, or (behind the cut) in the next."""
    text = b"220 2.0.0 go\r\n250-SMTPUTF8 INJECTED\r\n250-AUTH PLAIN\r\n250 HELP\r\n235 2.7.0 ok\r\n"

    def act(half):
        greet(half)
        half.expect(b"STARTTLS")
        half.heard = b""
        half.stream.sendall(text[:cut_at])
        time.sleep(0.01)  # not to wait for anything: the cut may fall together, and mostly does not
        try:
            half.stream.sendall(text[cut_at:])
        except (BrokenPipeError, ConnectionResetError):
            pass
        half.listen_to_the_end()

    return act


def says_to_starttls(reply):
    def act(half):
        greet(half)
        half.expect(b"STARTTLS")
        half.heard = b""
        half.say(reply)
        half.listen_to_the_end()

    return act


def offers(*keywords):
    def act(half):
        greet(half, keywords)
        half.listen_to_the_end()

    return act


def knows_only_helo(half):
    half.say(b"220 mx.example\r\n")
    half.expect(b"EHLO ")
    half.say(b"502 5.5.1 what\r\n")
    half.expect(b"HELO ")
    half.say(b"250 mx.example\r\n")
    half.listen_to_the_end()


def greets_authenticated(half):
    half.say(b"220 mx.example\r\n")
    half.expect(b"EHLO ")
    half.say(b"250-mx.example\r\n250-AUTH PLAIN LOGIN\r\n250 HELP\r\n235 2.7.0 you are in\r\n")
    half.listen_to_the_end()


def inside(folder, dialogue, certificate="server"):
    """A whole handshake, then a dialogue."""

    def act(half):
        half.shake(flight(half, folder, certificate))
        half.heard = b""
        dialogue(half)

    return act


def shown(folder, certificate):
    """A handshake that ends as the client finds the certificate wrong."""

    def act(half):
        half.stream.sendall(flight(half, folder, certificate))
        half.heard = b""
        half.listen_to_the_end()

    return act


def ends(half, how):
    if how == "reset":
        reset(half.stream)
        return
    try:
        if how == "notice":
            half.stream.sendall(half.notice())
            half.stream.sendall(b"\r\n250 2.0.0 in clear\r\n")
        half.end_output()
    except OSError:
        pass  # the client was faster
    half.listen_to_the_end()


def hears(*steps, how="cut"):
    """Inside TLS: lines that come, replies that go; then it ends."""

    def dialogue(half):
        heard = b""
        for awaited, reply in steps:
            if awaited == b".":
                while half.line() != b".":
                    pass
            elif awaited is not None:
                half.expect(awaited)
            half.say(reply)
        half.heard = heard
        ends(half, how)

    return dialogue


HELLO = (b"EHLO client.example", b"250-mx.example\r\n250 AUTH PLAIN\r\n")
LOGIN = (b"AUTH PLAIN", b"235 2.7.0 ok\r\n")
MAIL = (b"MAIL", b"250 2.1.0 ok\r\n")
RCPT = (b"RCPT", b"250 2.1.5 ok\r\n")
DATA = (b"DATA", b"354 go\r\n")


def deliver_in_clear(half):
    greet(half, (b"HELP",))
    for step in (MAIL, RCPT, DATA):
        half.expect(step[0])
        half.say(step[1])
    while half.line() != b".":
        pass
    half.say(b"250 2.0.0 ok\r\n")
    half.expect(b"QUIT")
    half.say(b"221 2.0.0 bye\r\n")


def handshake_sample(folder):
    """A server's flight, as one of ours gets it from a client of Python's: for where its records end."""
    client, server = Half.__new__(Half), Half.__new__(Half)
    hello = client.begin(client_context(), False)
    server.begin(server_context(folder), True)
    server.incoming.write(hello)
    octets = server.step()
    client.incoming.write(octets)
    return hello, octets, client.step()


ALERT = bytes([0x15, 3, 3, 0, 2])
GARBAGE = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "SMTP": b"220 mx.example ESMTP\r\n250 HELP\r\n",
    "zeros": b"\0" * 200,
    "ones": b"\xff" * 200,
    "a record without end": b"\x16\x03\x03\xff\xff" + b"\x02" * 70000,
    "data before keys": b"\x17\x03\x03\x00\x05hello",
    "an empty record": b"\x16\x03\x03\x00\x00" * 200,
}
ALERTS = {"handshake failure": 40, "protocol version": 70, "unrecognized name": 112, "internal error": 80}


def server_cases(folder):
    sample = handshake_sample(folder)[1]
    offsets = sorted({*record_ends(sample), *range(0, len(sample) + 1, 97), 1, 2, len(sample) - 1})
    patient = f"--timeout 2 --user user --password-file {folder}/password --tls "
    for wrapped in (False, True):
        kind = "wrapped" if wrapped else "STARTTLS"
        last = len(sample)
        for offset in offsets:
            # behind its last octet the client has done its part, and finds the end where the greeting or the hello is
            stage = "starttls" if offset < last - 16 else "starttls|greeting|hello"
            yield Case(f"{kind}: a handshake cut at {offset}", "ended|cut|closed|reset", cut(folder, offset), wrapped,
                       stage=stage)
        for offset in offsets[::6]:
            yield Case(f"{kind}: a handshake reset at {offset}", "ended|cut|closed|reset|pipe|EOF",
                       cut(folder, offset, True), wrapped, stage="starttls|greeting|hello")
        for name, octets in GARBAGE.items():
            yield Case(f"{kind}: {name} instead of a handshake", ".", says(octets), wrapped)
            yield Case(f"{kind}: {name}, octet by octet", ".", says(octets[:100], True), wrapped,
                       options=patient + kind.lower().replace("starttls", "required"))
        for name, alert in ALERTS.items():
            yield Case(f"{kind}: the alert {name}", name, says(ALERT + bytes([2, alert])), wrapped)
        yield Case(f"{kind}: a handshake that never begins [R14]", "too long", silent, wrapped,
                   options=patient + ("wrapped" if wrapped else "required"))
        yield Case(f"{kind}: a handshake that never ends [R14]", "too long", trickles(folder), wrapped,
                   options=patient + ("wrapped" if wrapped else "required"))
        yield Case(f"{kind}: a certificate of its own", "self.signed", shown(folder, "self_signed"), wrapped)
        yield Case(f"{kind}: another's certificate", "another name|mismatch", shown(folder, "other_name"), wrapped)
        yield Case(f"{kind}: an expired certificate", "expired", shown(folder, "expired"), wrapped)
        first = [(None, b"220 mx.example ESMTP\r\n")] if wrapped else []
        for how in ("cut", "notice", "reset"):
            for name, steps, stage in [
                ("before the hello", [], "greeting|hello"),
                ("in the midst of the hello", [(HELLO[0], b"250-mx.example\r\n250 AU")], "hello"),
                ("where it logs in", [HELLO, (LOGIN[0], b"")], "auth"),
                ("behind MAIL", [HELLO, LOGIN, (MAIL[0], b"")], "mail"),
                ("in the midst of a reply", [HELLO, LOGIN, (MAIL[0], b"250 2.1")], "mail"),
            ]:
                yield Case(f"{kind}: {how} {name}", ".", inside(folder, hears(*first, *steps, how=how)), wrapped,
                           stage=stage)
            yield Case(f"{kind}: {how} behind the dot", ".", status=76, stage="final", wrapped=wrapped,
                       act=inside(folder, hears(*first, HELLO, LOGIN, MAIL, RCPT, DATA, (b".", b"250 2.0"), how=how)))
        yield Case(f"{kind}: no AUTH inside TLS", "AUTH|mechanism|authenticat", wrapped=wrapped, stage="auth",
                   act=inside(folder, hears(*first, (HELLO[0], b"250 mx.example\r\n"), how="listen")))

    text = len(b"220 2.0.0 go\r\n250-SMTPUTF8 INJECTED\r\n250-AUTH PLAIN\r\n250 HELP\r\n235 2.7.0 ok\r\n")
    for cut_at in [*range(1, 22), 36, 37, 38, text]:
        yield Case(f"clear text behind the 220, cut at {cut_at} [K08] [C210]", ".", injects(cut_at), tls=False)
    yield Case("STARTTLS hidden [K09]", "STARTTLS|TLS", offers(b"HELP"), tls=False)
    yield Case("AUTH in clear alone [K09]", "STARTTLS|TLS", offers(b"AUTH PLAIN LOGIN"), tls=False)
    yield Case("only HELO known [K09]", "STARTTLS|TLS", knows_only_helo, tls=False)
    yield Case("authenticated, it says [K09]", ".", greets_authenticated, tls=False, stage="starttls|hello")
    yield Case("454 to STARTTLS [K09]", "454", says_to_starttls(b"454 4.7.0 not now\r\n"), tls=False)
    yield Case("454, and more than that [K08]", ".", tls=False,
               act=says_to_starttls(b"454 4.7.0 no\r\n235 2.7.0 ok\r\n250 2.1.0 ok\r\n"))
    yield Case("502 to STARTTLS [K09]", "502", says_to_starttls(b"502 5.5.1 what\r\n"), tls=False, status=1)
    yield Case("250 to STARTTLS", ".", says_to_starttls(b"250 2.0.0 ok\r\n"), tls=False)
    yield Case("a handshake that fails where TLS is optional: in clear", "250", says(GARBAGE["HTTP"]), status=0,
               stage="final", options="--tls opportunistic", more=deliver_in_clear)


# -- clients, which inbox meets -------------------------------------------------------------------------------


def connect(port, wrapped):
    half = Half(socket.create_connection(("127.0.0.1", port), TIME_OUT))
    if not wrapped:
        half.expect_reply(b"220 ")
        half.say(b"EHLO client.example\r\n")
        half.expect_reply(b"250 ")
        half.say(b"STARTTLS\r\n")
        half.expect_reply(b"220 ")
        if half.left:
            raise Wrong(f"{half.left!r} behind the 220")
    return half


def secure(port, wrapped, newest=ssl.TLSVersion.TLSv1_3):
    half = connect(port, wrapped)
    half.shake(half.begin(client_context(newest), False))
    if wrapped:
        half.expect_reply(b"220 ")
    half.say(b"EHLO client.example\r\n")
    half.expect_reply(b"250 ")
    return half


def no_reply(heard):
    """What came is no word of SMTP's."""
    if re.search(rb"(^|\n)[2345][0-9][0-9][ -]", heard):
        raise Wrong(f"{heard[:200]!r} was said in clear")


def cut_client(port, wrapped, where, hard):
    half = connect(port, wrapped)
    hello = half.begin(client_context(), False)
    half.stream.sendall(hello[:where])
    if hard:
        reset(half.stream)
        return
    if where >= len(hello):
        half.incoming.write(half.take())
        half.stream.sendall(half.step()[: where - len(hello)])
    half.end_output()
    half.left = b""
    no_reply(half.listen_to_the_end())


def silent_client(port, wrapped, octets):
    half = connect(port, wrapped)
    begin = time.monotonic()
    half.stream.sendall(octets)
    while True:
        heard = select.select([half.stream], [], [], 0.25)[0]
        if heard and not half.stream.recv(65536):
            break
        if time.monotonic() - begin > 8:
            raise Wrong("the handshake was not ended in time")
        if octets:
            try:
                half.stream.sendall(b"\0")  # trickles
            except (BrokenPipeError, ConnectionResetError):
                break
    if time.monotonic() - begin < 1:
        raise Wrong("the handshake was ended too soon")


def rude_client(port, wrapped, octets):
    half = connect(port, wrapped)
    half.stream.sendall(octets)
    half.end_output()
    no_reply(half.listen_to_the_end())


INJECTED = b"STARTTLS\r\nMAIL FROM:<injected@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"


def injecting_client(port, where, pause):
    """In clear behind STARTTLS, then a handshake as if nothing were."""
    half = Half(socket.create_connection(("127.0.0.1", port), TIME_OUT))
    half.expect_reply(b"220 ")
    half.say(b"EHLO client.example\r\n")
    half.expect_reply(b"250 ")
    half.left = b""
    half.stream.sendall(INJECTED[:where])
    try:
        if pause:
            time.sleep(0.005)
            half.stream.sendall(INJECTED[where:])
        half.stream.sendall(half.begin(client_context(), False))
    except (BrokenPipeError, ConnectionResetError):
        pass
    half.tls = None
    heard = half.listen_to_the_end()
    if re.search(rb"(^|\n)250", heard) or len(re.findall(rb"(^|\n)220", heard)) > 1:
        raise Wrong(f"{heard[:200]!r} was said")


def leaving_client(port, wrapped, words, how):
    """In the midst of a message, with a notice or without; clear text behind it."""
    half = secure(port, wrapped)
    half.say(b"MAIL FROM:<a@sender.example>\r\n")
    half.expect_reply(b"250 ")
    half.say(b"RCPT TO:<b@x.example>\r\n")
    half.expect_reply(b"250 ")
    half.say(words)
    if words.startswith(b"DATA"):
        half.expect_reply(b"354 ")
    if how == "reset":
        reset(half.stream)
        return
    if how == "notice":
        half.stream.sendall(half.notice())
        half.tls = None
        try:
            half.stream.sendall(b"9")
            half.stream.sendall(b"0123456789" * 10 + b"\r\n.\r\nQUIT\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
    if how == "garbage":
        half.tls = None
        half.stream.sendall(b"\r\n.\r\nQUIT\r\n")
    half.end_output()
    half.left = b""
    no_reply(half.listen_to_the_end())


def bounced_client(port, wrapped):
    """It leaves as soon as it has the server's certificate: with the alert of who does not trust it."""
    half = connect(port, wrapped)
    context = ssl.create_default_context()
    context.check_hostname = False
    half.stream.sendall(half.begin(context, False))
    try:
        while not half.shaken:
            half.incoming.write(half.take())
            half.step()
        raise Wrong("the certificate was trusted")
    except ssl.SSLCertVerificationError:
        half.stream.sendall(half.outgoing.read())
    half.end_output()
    half.tls, half.left = None, b""
    no_reply(half.listen_to_the_end())


def good_client(port, wrapped, octet_records=False, newest=ssl.TLSVersion.TLSv1_3):
    half = secure(port, wrapped, newest)
    for words, reply in [
        (b"MAIL FROM:<a@sender.example>\r\n", b"250 "),
        (b"RCPT TO:<b@x.example>\r\n", b"250 "),
        (b"DATA\r\n", b"354 "),
        (b"Subject: fine\r\n\r\nfine\r\n.\r\n", b"250 "),
        (b"QUIT\r\n", b"221 "),
    ]:
        for piece in [words[i : i + 1] for i in range(len(words))] if octet_records else [words]:
            half.say(piece)
        half.expect_reply(reply)
    try:
        half.more()
    except Wrong as error:
        if str(error) != "TLS was ended":
            raise Wrong(f"there was no close_notify: {error}") from error


def client_cases(folder, plain, wrapped_port):
    hello, _, rest = handshake_sample(folder)
    offsets = sorted({*record_ends(hello), *range(0, len(hello), 50), 1, 2, len(hello) - 1})
    behind = [len(hello) + at for at in sorted({0, 1, 6, len(rest) // 2, len(rest) - 1})]
    chunk = b"BDAT 100\r\n0123456789"
    for wrapped, port in ((False, plain), (True, wrapped_port)):
        kind = "wrapped" if wrapped else "STARTTLS"
        for at in offsets + behind:
            yield f"{kind}: a handshake cut at {at} [T05]", cut_client, (port, wrapped, at, False)
        for at in offsets[::4]:
            yield f"{kind}: a handshake reset at {at}", cut_client, (port, wrapped, at, True)
        for octets in (b"", hello[:5], hello[:40]):
            yield f"{kind}: a handshake that never ends [R14]", silent_client, (port, wrapped, octets)
        for name, octets in GARBAGE.items():
            yield f"{kind}: {name} instead of a handshake", rude_client, (port, wrapped, octets)
        for name, alert in ALERTS.items():
            yield f"{kind}: the alert {name}", rude_client, (port, wrapped, ALERT + bytes([2, alert]))
        yield f"{kind}: commands instead of a handshake", rude_client, (port, wrapped, INJECTED[10:])
        yield f"{kind}: a certificate not trusted", bounced_client, (port, wrapped)
        for how in ("cut", "notice", "reset", "garbage"):
            yield f"{kind}: {how} in a chunk [B22]", leaving_client, (port, wrapped, chunk, how)
            yield f"{kind}: {how} in a message", leaving_client, (port, wrapped, b"DATA\r\n", how)
    for at in [*range(11, 14), 40, 43, len(INJECTED)]:
        yield f"clear text behind STARTTLS, {at} octets [T01] [C209]", injecting_client, (plain, at, False)
    for at in [*range(1, 13), 43]:
        yield f"clear text behind STARTTLS, cut at {at} [T02]", injecting_client, (plain, at, True)


def descriptors(process):
    return len(os.listdir(f"/proc/{process}/fd"))


def filed(maildir):
    return [name for _, _, names in os.walk(maildir) for name in names]


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# -- both -----------------------------------------------------------------------------------------------------


def attempt(case):
    name, call, arguments = case
    try:
        call(*arguments)
        return None
    except (Wrong, OSError, ssl.SSLError) as error:
        return f"{type(error).__name__}: {error}"


def meet_inbox(pool, folder, processes, plain, wrapped, maildir):
    """How many cases failed, and of how many."""
    good = [(False, plain), (True, wrapped)]
    failed = 0
    for is_wrapped, port in good:  # once, so that all is open that stays so
        good_client(port, is_wrapped)
    filed_before = len(filed(maildir))
    before = [descriptors(process) for process in processes]
    cases = list(client_cases(folder, plain, wrapped))
    for case, wrong in zip(cases, pool.map(attempt, cases)):
        failed += wrong is not None
        print(*(["ok: inbox:", case[0]] if wrong is None else ["FAILED: inbox:", case[0], wrong]))
    left = not wait_for(lambda: all(descriptors(process) <= most for process, most in zip(processes, before)))
    if left:
        print(f"FAILED: inbox: {[descriptors(process) for process in processes]} descriptors, {before} before")
    news = len(filed(maildir)) - filed_before
    if news:
        print(f"FAILED: inbox: {news} messages were filed")
    for is_wrapped, port in good:
        good_client(port, is_wrapped, octet_records=True)
        good_client(port, is_wrapped, newest=ssl.TLSVersion.TLSv1_2)
    lost = len(filed(maildir)) != filed_before + news + 4
    if lost:
        print("FAILED: inbox: a message of good clients is not there")
    return failed + left + (news > 0) + lost, len(cases) + 3


def meet_send(pool, send, folder):
    failed = 0
    cases = list(server_cases(folder))
    for case, (wrong, ran) in zip(cases, pool.map(lambda case: case.run(send, folder), cases)):
        if wrong is None:
            print("ok: send:", case.name)
            continue
        failed += 1
        print("FAILED: send:", case.name, wrong, ran.stdout.decode(), ran.stderr[-1000:].decode(), sep="\n    ")
    return failed, len(cases)


def main(send, folder, plain_process, plain, wrapped_process, wrapped, maildir):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        servers = meet_send(pool, send, folder)
        clients = meet_inbox(pool, folder, [plain_process, wrapped_process], int(plain), int(wrapped), maildir)
    failed, all_of_them = servers[0] + clients[0], servers[1] + clients[1]
    print(all_of_them - failed, "as they should be,", failed, "not")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
