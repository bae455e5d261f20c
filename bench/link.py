"""A link of a stated speed between a box and its broker: a process that forwards TCP, a few packets at a time.

Nothing is read ahead of what the link has carried, so that a sender feels its speed as it would at a modem.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from dcu.uplink.diagnosis import Endpoint

PART_BYTES = 8 * 1024
QUEUE_BYTES = 64 * 1024
"""What stands in a modem's queue: of the sockets at each end."""


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets_per_s: float) -> None:
    """One direction, until its end closes."""
    clock = asyncio.get_running_loop().time
    free_s = clock()
    try:
        while part := await reader.read(PART_BYTES):
            free_s = max(free_s, clock()) + len(part) / octets_per_s
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(free_s - clock())
    except OSError:
        pass  # an end that was killed
    finally:
        writer.close()


async def _serve(broker_port: int, octets_per_s: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", broker_port, limit=PART_BYTES)
        await asyncio.gather(_carry(reader, back, octets_per_s), _carry(there, writer, octets_per_s))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=PART_BYTES)
    for listener in server.sockets:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def link(to: Endpoint, bits_per_s: float) -> Iterator[Endpoint]:
    """The broker `to` at the far end of a link that carries so many bits a second, each way."""
    command = [sys.executable, "-m", "bench.link", str(to.port), str(bits_per_s / 8)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield replace(to, port=int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
