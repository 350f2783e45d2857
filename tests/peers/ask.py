"""Speaks to a server, word by word: ask.py [ADDRESS@]HOST:PORT STEP...

It comes from ADDRESS. A step is a command, whose reply is printed, "250 first line | second line"; "<FILE", whose octets
are sent just as they are; or "!PROCESS", which is asked to end."""
import os
import signal
import socket
import sys


def reply(lines):
    said = []
    for line in lines:
        said.append(line.rstrip(b"\r\n").decode("utf-8", "backslashreplace"))
        if said[-1][3:4] != "-":
            return " | ".join([said[0][:3] + " " + said[0][4:], *(each[4:] for each in said[1:])])
    return "closed"


def main(where, *steps):
    origin, _, target = where.rpartition("@")
    host, port = target.rsplit(":", 1)
    source = (origin, 0) if origin else None
    with socket.create_connection((host.strip("[]"), int(port)), timeout=30, source_address=source) as peer:
        lines = peer.makefile("rb")
        print(reply(lines), flush=True)
        for step in steps:
            if step.startswith("<"):
                with open(step[1:], "rb") as file:
                    peer.sendall(file.read())
            elif step.startswith("!"):
                os.kill(int(step[1:]), signal.SIGTERM)
            else:
                peer.sendall(step.encode("utf-8", "surrogateescape") + b"\r\n")
                print(reply(lines), flush=True)


main(*sys.argv[1:])
