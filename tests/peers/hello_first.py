"""Says hello for a client that asks for STARTTLS at once, and then only passes octets on, both ways:
hello_first.py PORT. Prints "ready ADDRESS:PORT"."""
import asyncio
import sys


async def greet(reader, writer):
    """What the server's greeting was; its answer to our hello is nobody else's."""
    greeting = await reader.readline()
    writer.write(b"EHLO client.example\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    return greeting


async def pass_on(reader, writer):
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
    writer.write_eof()


async def serve(reader, writer):
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    writer.write(await greet(server_reader, server_writer))
    await asyncio.gather(pass_on(reader, server_writer), pass_on(server_reader, writer), return_exceptions=True)
    server_writer.close()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("ready %s:%d" % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


asyncio.run(main())
