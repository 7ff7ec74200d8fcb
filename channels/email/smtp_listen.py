"""Sockets to listen on and the certificate to show; what cannot be says so in one sentence."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from contextlib import suppress

from channels.base import ConfigError

BACKLOG = 1024  # connections the kernel keeps until we get to them: 500 may come at once


async def listening_socket(listen: str) -> tuple[socket.socket, str]:
    """Bind HOST:PORT or unix:/path. Return the socket, and the path to remove at the end ("" for TCP)."""
    try:
        if listen.startswith("unix:"):
            return _unix_socket(listen[5:]), listen[5:]
        return await _tcp_socket(listen), ""
    except (OSError, TimeoutError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number is not None and number > 0 else "no such host"
        raise ConfigError(f"cannot listen on {listen}: {reason}") from error


async def _tcp_socket(listen: str) -> socket.socket:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"cannot listen on {listen!r}: give HOST:PORT or unix:/path")
    async with asyncio.timeout(10):
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    # With proto=0 asyncio leaves Nagle's algorithm on: pipelined mail then runs at 23 a second.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _unix_socket(path: str) -> socket.socket:
    _make_way(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        os.chmod(path, 0o660)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _make_way(path: str) -> None:
    """Remove a socket left behind by a process that is gone; anything else at the path stays."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in filter(None, (cert, key)):
        if not os.access(path, os.R_OK):
            raise ConfigError(f"cannot read the TLS file {path}")
    try:
        context.load_cert_chain(cert, key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the TLS files {cert} and {key or cert} are not a certificate and its key"
        ) from error
    return context
