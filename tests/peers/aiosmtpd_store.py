"""Stores what aiosmtpd receives: aiosmtpd_store.py DIR [--lmtp] [--no-utf8]

Each message becomes DIR/N.eml, exactly as it came, and DIR/N.env: the reverse-path with its parameters, then each
forward-path with its own, in lines of UTF-8. unknown@ is refused at RCPT; full@ is refused at the end of the message
where that is possible for one recipient (LMTP). Prints "ready ADDRESS:PORT"."""
import asyncio
import pathlib
import sys

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP


class Store:
    def __init__(self, folder, lmtp):
        self.folder, self.lmtp, self.count = pathlib.Path(folder), lmtp, 0
        self.options = []

    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from, self.options = address, [" ".join([address, *options])]
        return "250 2.1.0 sender"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return "550 5.1.1 nobody here"
        envelope.rcpt_tos.append(address)
        self.options.append(" ".join([address, *options]))
        return "250 2.1.5 recipient"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        (self.folder / f"{self.count}.eml").write_bytes(envelope.original_content)
        (self.folder / f"{self.count}.env").write_text("\n".join(self.options) + "\n", "utf-8", "surrogateescape")
        if not self.lmtp:
            return "250 2.0.0 stored"
        return "\r\n".join(map(self.result, envelope.rcpt_tos))

    @staticmethod
    def result(address):
        return "452 4.2.2 full" if address.startswith("full@") else "250 2.1.5 stored"


async def main(folder, *options):
    lmtp = "--lmtp" in options
    store = Store(folder, lmtp)
    loop = asyncio.get_running_loop()

    def session():
        return (LMTP if lmtp else SMTP)(store, hostname="mx.example", enable_SMTPUTF8="--no-utf8" not in options,
                                        loop=loop)

    server = await loop.create_server(session, "127.0.0.1", 0)
    print("ready %s:%d" % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
