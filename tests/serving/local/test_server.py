"""The line that announces the server: whoever reads it may connect."""

import asyncio
import re
import signal
import socket

from fomm_tf.serving.local import core, listen, server

SECONDS = 60  # no test waits so long, unless it fails


class Versions:
    """A model that is loaded at once."""

    name = "fomm"

    async def load_initial(self):
        pass

    async def watch(self, _):
        pass


def test_server_accepts_connections_when_it_announces_its_ports(monkeypatch):
    connected = []

    def read_line(line, **_):
        for port in re.findall(r"127\.0\.0\.1:(\d+)", line):
            try:
                socket.create_connection(("127.0.0.1", int(port)), timeout=SECONDS).close()
                connected.append(True)
            except ConnectionRefusedError:
                connected.append(False)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(server, "print", read_line, raising=False)
    running = core.ServerCore(Versions(), core.Limits(timeout=SECONDS))
    address = server.Address("127.0.0.1", 0, listen.bind("127.0.0.1", 0, 0))
    asyncio.run(asyncio.wait_for(server.run(running, address, quiet=False), SECONDS))
    assert connected == [True, True]
