"""Ports, tried before the model and TensorFlow are loaded: a mistake shows at once."""

from __future__ import annotations

import socket

from fomm_tf import errors


def bind(host: str, grpc_port: int, rest_port: int) -> socket.socket:
    """Binds the REST port without listening, and tries the gRPC port, which gRPC itself binds later.

    Until the model is loaded, connections are refused rather than kept waiting.

    Args:
      host: a name or address.
      grpc_port: 0 is any free port.
      rest_port: 0 is any free port.

    Returns:
      The socket of the REST port.

    Raises:
      errors.UserError: if the host is unknown or a port is taken.
    """
    if rest_port and grpc_port == rest_port:
        raise errors.UserError(f"`grpc_port` and `rest_port`: both are {rest_port}; choose another for one of them.")
    _bind(host, grpc_port, "grpc_port").close()
    return _bind(host, rest_port, "rest_port")


def _bind(host: str, port: int, name: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise errors.UserError(f"`host`: {host} is unknown ({error}); give an address of this machine.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise errors.UserError(
            f"cannot listen on {host}: port {port}: {error.strerror}; choose another `{name}` or `host`."
        ) from None
    return listener
