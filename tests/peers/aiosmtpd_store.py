"""Stores what aiosmtpd receives: aiosmtpd_store.py DIR [--lmtp] [--no-utf8] [--starttls PEM | --wrapped PEM]

Each message becomes DIR/N.eml, exactly as it came, and DIR/N.env: the reverse-path with its parameters, then each
forward-path with its own, in lines of UTF-8. unknown@ is refused at RCPT; full@ is refused at the end of the message
where that is possible for one recipient (LMTP). With TLS, for which PEM has key and certificate, nobody may send but
alice, and DIR/N.who says who did, in which version of TLS. Prints "ready ADDRESS:PORT"."""
import asyncio
import pathlib
import ssl
import sys

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, AuthResult


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
        tls = server.transport.get_extra_info("ssl_object")
        if tls is not None:
            (self.folder / f"{self.count}.who").write_text(f"{session.auth_data.decode()} {tls.version()}\n")
        if not self.lmtp:
            return "250 2.0.0 stored"
        return "\r\n".join(map(self.result, envelope.rcpt_tos))

    @staticmethod
    def result(address):
        return "452 4.2.2 full" if address.startswith("full@") else "250 2.1.5 stored"


def authenticate(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (b"alice", b"a secret")
    return AuthResult(success=right, handled=False, auth_data=data.login)


def context_of(options, option):
    if option not in options:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options[options.index(option) + 1])
    return context


async def main(folder, *options):
    lmtp = "--lmtp" in options
    store = Store(folder, lmtp)
    loop = asyncio.get_running_loop()
    starttls, wrapped = context_of(options, "--starttls"), context_of(options, "--wrapped")
    settings = {"hostname": "mx.example", "enable_SMTPUTF8": "--no-utf8" not in options, "loop": loop}
    if starttls or wrapped:
        # It does not know that it is inside TLS where that began before it.
        settings.update(tls_context=starttls, require_starttls=bool(starttls), auth_require_tls=bool(starttls),
                        auth_required=True, authenticator=authenticate)

    server = await loop.create_server(lambda: (LMTP if lmtp else SMTP)(store, **settings), "127.0.0.1", 0, ssl=wrapped)
    print("ready %s:%d" % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
