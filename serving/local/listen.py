"""Ports, tried before the model and TensorFlow are loaded: a mistake shows at once."""

from __future__ import annotations

import socket

from fomm_tf import errors, sockets


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
    sockets.bind(host, grpc_port, "grpc_port").close()
    return sockets.bind(host, rest_port, "rest_port")
