"""Addresses of clusters: whether something answers there."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from betaplane.errors import BadInput

SECONDS = 10.0


def check_reachable(address: str, engine: str, example: str) -> None:
    """Raise BadInput unless a TCP connection to an address can be made.

    Args:
        address: HOST:PORT, perhaps with a scheme: tcp://HOST:PORT.
        engine: what runs there ("Ray").
        example: a complete value of `executor`.

    Example:
        >>> check_reachable("127.0.0.1", "Ray", "ray:10.0.0.1:6379")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: Invalid address of Ray: got '127.0.0.1'; expected HOST:PORT ...
    """
    host, port = _host_and_port(address)
    if not host or not port:
        raise BadInput(
            f"Invalid address of {engine}",
            value=address,
            allowed="HOST:PORT",
            where="executor",
            instead=f'executor="{example}"',
        )
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError as error:
        raise BadInput(
            f"{engine} does not answer ({error.strerror or error})",
            value=address,
            allowed="the address of a cluster that runs",
            where="executor",
            instead=f'executor="{example}"',
        ) from error


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        return parts.hostname, parts.port
    except ValueError:
        return None, None
