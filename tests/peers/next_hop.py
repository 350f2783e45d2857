"""A next hop that does what it is told: next_hop.py DIR ADDRESS:PORT [STAGE=REPLY...]

It accepts all mail, but for what a script says. A script maps stages to what is said there: connect (the greeting),
ehlo, helo, mail, rcpt, data, body (when its first octets are there), chunk (behind a BDAT that is not the last), dot
(behind a message), rset, quit. What is said is a reply, a function that is given the command's argument and makes one,
a list of such, one after the other and the last for all that follow, or CLOSE, RESET or HANG, which end or rest the
connection; after 421 it ends too. "capabilities" are the keywords behind ehlo.

As a program it tells its script in arguments, where the reply "greylist" is 451 for each forward-path that is new, and
keeps each message as DIR/N.eml, just as it came, and DIR/N.env: the arguments of MAIL, and of each RCPT that was
accepted, a line each. DIR/log gets a line for each command. Prints "ready ADDRESS:PORT"."""
import asyncio
import dataclasses
import pathlib
import socket
import struct
import sys
import time

CLOSE, RESET, HANG = "CLOSE", "RESET", "HANG"
CAPABILITIES = ("PIPELINING", "8BITMIME", "SIZE", "ENHANCEDSTATUSCODES", "SMTPUTF8", "CHUNKING")


class Over(Exception):
    """The connection is not to go on."""


@dataclasses.dataclass
class Message:
    """One that came whole."""

    came: float  # when
    connection: int
    hello: str
    sender: str  # the arguments of MAIL FROM: and RCPT TO:, with their parameters
    recipients: list
    content: bytes
    accepted: bool  # with a 2yz


class NextHop:
    """Its n-th connection goes by the n-th of its scripts, and all that follow by the last."""

    def __init__(self, *scripts, on_message=lambda message: None, log=lambda line: None):
        self.scripts = scripts or ({},)
        self.connections, self.messages = [], []  # when each came; what
        self.on_message, self.log = on_message, log

    async def listen(self, address, port):
        self.server = await asyncio.start_server(self.connected, address, port, limit=1 << 26, backlog=512)
        return self.server.sockets[0].getsockname()

    async def connected(self, reader, writer):
        number = len(self.connections)
        self.connections.append(time.time())
        script = self.scripts[min(number, len(self.scripts) - 1)]
        try:
            await Dialogue(self, number, script, reader, writer).run()
        except (Over, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Dialogue:
    def __init__(self, hop, number, script, reader, writer):
        self.hop, self.number, self.script, self.reader, self.writer = hop, number, script, reader, writer
        self.hello = ""
        self.said = {}  # how often something was said at a stage
        self.forget()

    def forget(self):
        self.sender, self.recipients, self.chunks = None, [], []

    def scripted(self, stage, argument, reply):
        said = self.script.get(stage, reply)
        if isinstance(said, list):
            count = self.said.get(stage, 0)
            self.said[stage] = count + 1
            said = said[min(count, len(said) - 1)]
        return said(argument) if callable(said) else said

    async def say(self, stage, argument, reply):
        """True if it was positive."""
        return await self.put(stage, argument, self.scripted(stage, argument, reply))

    async def put(self, stage, argument, said):
        self.hop.log(f"{time.time():.3f} {self.number} {stage} {argument} -> {said.splitlines()[0][:60]}")
        if said == HANG:
            await self.reader.read(-1)
            raise Over
        if said == RESET:
            stream = self.writer.get_extra_info("socket")
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        if said in (CLOSE, RESET):
            raise Over
        self.writer.write(said.encode("utf-8", "surrogateescape") + b"\r\n")
        await self.writer.drain()
        if said.startswith("421"):
            raise Over
        return said[0] in "23"

    async def run(self):
        if not await self.say("connect", "", "220 next.example"):
            raise Over
        while True:
            line = (await self.reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "surrogateescape")
            verb, _, argument = line.partition(" ")
            command = getattr(self, "do_" + verb.lower(), None)
            if command is None:
                await self.say("unknown", line, "502 5.5.1 no")
            else:
                await command(argument)

    async def do_ehlo(self, argument):
        self.forget()
        self.hello = argument
        lines = ["next.example", *self.script.get("capabilities", CAPABILITIES)]
        await self.say("ehlo", argument, "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]))

    async def do_helo(self, argument):
        self.forget()
        await self.say("helo", argument, "250 next.example")

    async def do_mail(self, argument):
        path = argument[len("FROM:") :]
        if await self.say("mail", path, "250 2.1.0 sender"):
            self.sender = path

    async def do_rcpt(self, argument):
        path = argument[len("TO:") :]
        if self.sender is None:
            await self.say("unexpected", path, "503 5.5.1 no sender")
        elif await self.say("rcpt", path, "250 2.1.5 recipient"):
            self.recipients.append(path)

    async def do_data(self, argument):
        if not self.recipients:
            await self.say("unexpected", argument, "554 5.5.1 no recipients")
        elif await self.say("data", argument, "354 go on"):
            await self.whole(await self.stuffed())

    async def stuffed(self):
        lines = []
        while True:
            line = await self.reader.readuntil(b"\r\n")
            if not lines and "body" in self.script:
                await self.say("body", "", "")
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)

    async def do_bdat(self, argument):
        size, *last = argument.split(" ")
        if "body" in self.script:
            await self.say("body", "", "")
        self.chunks.append(await self.reader.readexactly(int(size)))
        if not self.recipients:
            await self.say("unexpected", argument, "554 5.5.1 no recipients")
        elif last:
            await self.whole(b"".join(self.chunks))
        else:
            await self.say("chunk", argument, "250 2.0.0 chunk")

    async def whole(self, content):
        """It is kept before that is said."""
        said = self.scripted("dot", "", f"250 2.0.0 {len(self.hop.messages) + 1}")
        message = Message(time.time(), self.number, self.hello, self.sender, self.recipients, content, said[0] == "2")
        self.forget()
        self.hop.messages.append(message)
        if message.accepted:
            self.hop.on_message(message)
        await self.put("dot", "", said)

    async def do_rset(self, argument):
        self.forget()
        await self.say("rset", argument, "250 2.0.0 forgotten")

    async def do_noop(self, argument):
        await self.say("noop", argument, "250 2.0.0 yes")

    async def do_quit(self, argument):
        await self.say("quit", argument, "221 2.0.0 bye")
        raise Over


class Keeper:
    """Puts messages and a log into a folder."""

    def __init__(self, folder):
        self.folder, self.count = pathlib.Path(folder), 0
        self.lines = (self.folder / "log").open("a", encoding="utf-8", errors="surrogateescape", buffering=1)

    def log(self, line):
        self.lines.write(line + "\n")

    def keep(self, message):
        self.count += 1
        envelope = "\n".join([message.sender, *message.recipients]) + "\n"
        (self.folder / f"{self.count}.env").write_text(envelope, "utf-8", "surrogateescape")
        (self.folder / f"{self.count}.part").write_bytes(message.content)
        (self.folder / f"{self.count}.part").rename(self.folder / f"{self.count}.eml")


def greylist():
    known = set()

    def judge(path):
        if path in known:
            return "250 2.1.5 known"
        known.add(path)
        return "451 4.7.1 not yet"

    return judge


def script_of(arguments):
    script = {}
    for argument in arguments:
        stage, _, said = argument.partition("=")
        script[stage] = greylist() if said == "greylist" else said
    if "capabilities" in script:
        script["capabilities"] = script["capabilities"].split(",")
    return script


async def main(folder, where, *arguments):
    keeper = Keeper(folder)
    hop = NextHop(script_of(arguments), on_message=keeper.keep, log=keeper.log)
    address, port = where.rsplit(":", 1)
    print("ready %s:%d" % await hop.listen(address, int(port)), flush=True)
    await hop.server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
