"""The address that a server listens on."""

from __future__ import annotations

import socket

from fomm_tf import errors


def bind(host: str, port: int, name: str = "port") -> socket.socket:
    """Binds a port, without listening.

    Args:
      host: a name or address.
      port: 0 is any free port.
      name: of the parameter that gave the port, for messages.

    Raises:
      errors.UserError: if the host is unknown or the port is taken.
    """
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
