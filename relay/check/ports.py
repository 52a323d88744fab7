"""The ports: free for us to bind, or taken by a relay of ours that answers as it should.

Owns the look at each address from outside. Binds for a moment, never listens, and sends nothing but QUIT.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from relay.config import Config, Listener
from relay.config.words import split_bind
from relay.finding import Finding, fail, ok

_PATIENCE_SECONDS = 3.0


def examine_ports(config: Config) -> Iterator[Finding]:
    """Every listener, and the port for health and metrics."""
    for listener in config.listeners:
        yield _examine(
            f"listener {listener.bind}", listener.bind, partial(_greets, listener, config.hostname)
        )
    if config.admin.bind:
        yield _examine(f"admin {config.admin.bind}", config.admin.bind, partial(_lives, config.admin.bind))


def _examine(subject: str, bind: str, is_ours: Callable[[], bool]) -> Finding:
    wrong = _bind(bind)
    if wrong == 0:
        return ok(subject, "free to bind")
    if wrong == errno.EADDRINUSE:
        if is_ours():
            return ok(subject, "a relay answers")
        return fail(subject, "taken by another program; stop it, or take another port")
    if wrong in (errno.EACCES, errno.EPERM):
        return fail(
            subject, "may not be bound by this user; use the systemd units, or give CAP_NET_BIND_SERVICE"
        )
    if wrong == errno.EADDRNOTAVAIL:
        return fail(subject, "is no address of this machine")
    return fail(subject, f"cannot be bound ({os.strerror(wrong)})")


def _bind(bind: str) -> int:
    """The errno of a try to bind; 0 when it works."""
    host, port = split_bind(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as the daemon does: TIME_WAIT is no owner
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen()
    except OSError as exc:
        return exc.errno or errno.EIO
    return 0


def _reachable(bind: str) -> tuple[str, int]:
    """Where to knock at a bind: the wildcard is answered on loopback."""
    host, port = split_bind(bind)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def _greets(listener: Listener, hostname: str) -> bool:
    """Whether the banner there is ours: 220, then our name (RFC 5321 §4.2)."""
    try:
        with ExitStack() as opened:
            sock = opened.enter_context(
                socket.create_connection(_reachable(listener.bind), timeout=_PATIENCE_SECONDS)
            )
            if listener.tls == "implicit":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = (
                    False,
                    ssl.CERT_NONE,
                )  # the certificate has its own line
                sock = opened.enter_context(context.wrap_socket(sock))
            banner = sock.recv(512)
            sock.sendall(b"QUIT\r\n")
    except OSError:
        return False
    return banner.startswith(f"220 {hostname} ".encode())


def _lives(bind: str) -> bool:
    """Whether /livez there answers as ours does."""
    host, port = _reachable(bind)
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
