"""The line that announces the server: whoever reads it may connect."""

import asyncio
import re
import signal
import socket

import pytest

from fomm_tf import errors
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


def run_server(versions, quiet):
    address = server.Address("127.0.0.1", 0, listen.bind("127.0.0.1", 0, 0))
    running = core.ServerCore(versions, core.Limits(timeout=SECONDS))
    asyncio.run(asyncio.wait_for(server.run(running, address, quiet), SECONDS))


def test_quiet_server_prints_nothing(capfd, monkeypatch):
    async def serve(core, address, stop, announce, animation):
        announce("gRPC and REST")

    monkeypatch.setattr(server, "serve", serve)
    run_server(Versions(), quiet=True)
    assert capfd.readouterr() == ("", "")
    run_server(Versions(), quiet=False)
    assert capfd.readouterr() == ("fomm: gRPC and REST\n", "fomm: loading\n")


def test_server_that_is_stopped_while_it_loads_is_interrupted(monkeypatch):
    class Slow(Versions):
        async def load_initial(self):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(SECONDS)

    monkeypatch.setattr(server, "serve", None)
    with pytest.raises(KeyboardInterrupt):
        run_server(Slow(), quiet=True)


def test_bind_rejects_the_same_port_for_both_protocols():
    with pytest.raises(errors.UserError, match="`grpc_port` and `rest_port`: both are 8500; choose another for one"):
        listen.bind("127.0.0.1", 8500, 8500)
