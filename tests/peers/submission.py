"""smtplib submits: submission.py send starttls|wrapped|clear MECHANISM USER SECRET-FILE CA PORT RECIPIENT MESSAGE
or sees that the rules of submission hold: submission.py rules CERTIFICATES-FOLDER PORT USER SECRET-FILE"""
import base64
import pathlib
import smtplib
import ssl
import sys

HOST, NAME, TIMEOUT = "127.0.0.1", "client.example", 60


def secret_of(path):
    return pathlib.Path(path).read_text("ascii").split("\n")[0]


def connect(how, ca, port):
    if how == "clear":
        return smtplib.SMTP(HOST, int(port), NAME, timeout=TIMEOUT)
    context = ssl.create_default_context(cafile=ca)
    if how == "wrapped":
        return smtplib.SMTP_SSL(HOST, int(port), NAME, timeout=TIMEOUT, context=context)
    client = smtplib.SMTP(HOST, int(port), NAME, timeout=TIMEOUT)
    client.starttls(context=context)
    return client


def authenticate(client, mechanism, user, secret, initial_response):
    client.user, client.password = user, secret
    client.ehlo_or_helo_if_needed()
    if mechanism not in client.esmtp_features["auth"].split():
        raise SystemExit(f"{mechanism} is not offered")
    respond = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
    client.auth(mechanism, respond, initial_response_ok=initial_response)


def send(how, mechanism, user, secret, ca, port, recipient, message):
    with connect(how, ca, port) as client:
        authenticate(client, mechanism, user, secret_of(secret), how == "starttls")
        client.sendmail("a@sender.example", [recipient], pathlib.Path(message).read_bytes())


class Rules:
    """Says one thing after the other, and demands what the reply begins with."""

    def __init__(self, port):
        self.client = smtplib.SMTP(HOST, int(port), NAME, timeout=TIMEOUT)

    def start_tls(self, certs, certificate=None):
        context = ssl.create_default_context(cafile=f"{certs}/ca.pem")
        if certificate is not None:
            context.load_cert_chain(f"{certs}/{certificate}.pem", f"{certs}/{certificate}.key")
        self.client.starttls(context=context)

    def offered(self, *mechanisms):
        self.client.ehlo(NAME)
        offers = self.client.esmtp_features.get("auth", "").split()
        if set(offers) != set(mechanisms):
            raise SystemExit(f"AUTH {offers} is offered")
        print("ok: offered:", *offers)

    def say(self, line, *expected):
        code, text = self.client.docmd(line)
        reply = "%d %s" % (code, text.decode("latin-1"))
        if not reply.startswith(expected):
            raise SystemExit(f"{line}: {reply}")
        print(f"ok: {line}: {reply}")


def plain(user, secret):
    return base64.b64encode(f"\0{user}\0{secret}".encode()).decode()


def before_tls(dialogue, right):
    dialogue.offered()
    dialogue.say("MAIL FROM:<a@sender.example>", "530 5.7.0 ")
    dialogue.say("AUTH PLAIN " + right, "538 5.7.11 ")
    dialogue.say("MAIL FROM:<a@sender.example>", "530 5.7.0 ")


def before_auth(dialogue, wrong):
    dialogue.say("STARTTLS", "503 ")
    dialogue.say("MAIL FROM:<a@sender.example>", "530 5.7.0 ")
    dialogue.say("AUTH NONSUCH", "504 5.5.4 ")
    dialogue.say("AUTH EXTERNAL =", "504 5.5.4 ")
    dialogue.say("AUTH PLAIN", "334 ")
    dialogue.say("*", "501 5.7.0 ")
    dialogue.say("AUTH PLAIN", "334 ")
    dialogue.say("no base64", "501 5.5.2 ")
    dialogue.say("AUTH PLAIN =", "501 5.5.2 ")
    dialogue.say("AUTH PLAIN " + wrong, "535 5.7.8 ")
    dialogue.say("MAIL FROM:<a@sender.example>", "530 5.7.0 ")


def after_auth(dialogue, right):
    dialogue.say("AUTH PLAIN " + right, "235 2.7.0 ")
    dialogue.say("AUTH PLAIN " + right, "503 5.5.1 ")
    dialogue.say("MAIL FROM:<a@sender.example> AUTH=<>", "250 ")
    dialogue.say("AUTH PLAIN " + right, "503 5.5.1 ")
    dialogue.say("RCPT TO:<b@unqualified>", "554 5.1.2 ")
    dialogue.say("RSET", "250 ")
    dialogue.say("MAIL FROM:<a@unqualified>", "554 5.1.8 ")
    dialogue.say("QUIT", "221 ")


# A certificate that cannot be verified counts for nothing; one that can stands for alice, and for nobody else.
def certificates(certs, port, right, ordinary):
    stranger = Rules(port)
    stranger.start_tls(certs, "stranger")
    stranger.offered(*ordinary)
    stranger.say("AUTH EXTERNAL =", "504 5.5.4 ")
    stranger.say("AUTH PLAIN " + right, "235 2.7.0 ")
    alice = Rules(port)
    alice.start_tls(certs, "client")
    alice.offered(*ordinary, "EXTERNAL")
    alice.say("AUTH EXTERNAL " + base64.b64encode(b"bearer").decode(), "535 5.7.8 ")
    alice.say("AUTH EXTERNAL", "334 ")
    alice.say("", "235 2.7.0 ")


def rules(certs, port, user, secret):
    right, wrong = plain(user, secret_of(secret)), plain(user, "guessed")
    dialogue = Rules(port)
    before_tls(dialogue, right)
    dialogue.start_tls(certs)
    ordinary = ("PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS XOAUTH2 "
                "OAUTHBEARER").split()
    dialogue.offered(*ordinary)
    before_auth(dialogue, wrong)
    after_auth(dialogue, right)
    certificates(certs, port, right, ordinary)


if __name__ == "__main__":
    {"send": send, "rules": rules}[sys.argv[1]](*sys.argv[2:])
