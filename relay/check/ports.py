"""The ports: free for us to bind, or taken by a relay of ours that answers as it should.

Owns the look at each address from outside. Binds for a moment, accepts nobody, and sends nothing but QUIT
and, where a proxy is expected, the header of its health check (proxy-protocol.txt §2.2).
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial

from relay import PROGRAM, replies
from relay.check.finding import Finding, Level, fail, ok, warn
from relay.check.socket_unit import SocketUnit
from relay.config import Config
from relay.config.listener import Place, list_places
from relay.config.words import split_bind
from relay.networks import normalise_peer, parse_address, parse_network
from relay.smtp.sockets import family_of, lacks_family, open_socket
from relay.spool.opening import is_in_use

_PATIENCE_SECONDS = 3.0
#: Octets of an answer that are read: ours has some hundred.
_MOST_BYTES = 4_096
#: A header of version 2 with the command LOCAL: "the receiver must use the real connection endpoints", which
#: are ours.
_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
#: Replies of a relay that greets nobody for a while.
_NOT_NOW = frozenset(
    str(reply)
    for reply in (
        replies.SHUTTING_DOWN,
        replies.PAUSED,
        replies.OVERLOADED,
        replies.TOO_MANY_SESSIONS,
        replies.TOO_MANY_FROM_YOU,
    )
)
#: Characters quoted of another program's greeting, enough to tell which it is.
_QUOTED = 80


def examine_ports(config: Config, sockets: SocketUnit | None = None) -> Iterator[Finding]:
    """Examine every listener, and the addresses of health, metrics and the page. The addresses of `sockets`
    are opened by systemd.
    """
    ours = is_in_use(config)
    places = list_places(config.listeners)
    for place in places:
        subject = f"listener {place.bind}"
        if sockets is not None and place.bind in sockets.binds and (found := _hand_over(place.bind, sockets)):
            yield found
            continue
        spare = any(place.stands_beside(other) for other in places)
        who = partial(_meet, subject, place, config)
        yield _examine(subject, place.bind, partial(_own, who, config, ours=ours), spare=spare)
    for bind in config.admin.bind:
        subject = f"admin {bind}"
        yield _examine(subject, bind, partial(_own, partial(_look, subject, bind), config, ours=ours))
    for bind in config.web.bind:
        subject = f"page {bind}"
        yield _examine(subject, bind, partial(_own, partial(_look, subject, bind), config, ours=ours))


def _hand_over(bind: str, sockets: SocketUnit) -> Finding | None:
    """Examine an address that systemd hands over. Returns None where another program has it."""
    is_taken = (error := _bind(bind)) is not None and error.errno == errno.EADDRINUSE
    if (is_taken and not sockets.is_active) or (error is not None and lacks_family(bind, error)):
        return None
    return ok(f"listener {bind}", f"systemd opens it, and hands it over ({sockets.name})")


def _own(who: Callable[[], Finding], config: Config, *, ours: bool) -> Finding:
    """Examine who has an address. A relay there is another one where none uses our data_dir."""
    found = who()
    if found.level is Level.FAIL or ours:
        return found
    return fail(
        found.subject,
        f"another relay has it: none runs with the data_dir {config.data_dir}; stop it, or take another port",
    )


def _examine(subject: str, bind: str, who: Callable[[], Finding], *, spare: bool = False) -> Finding:
    """Examine an address. Where it is taken, `who` examines who has it. With `spare` the listener does
    without the address on a machine that lacks its family.
    """
    error = _bind(bind)
    if error is None:
        return ok(subject, "free to bind")
    if lacks_family(bind, error):
        family = "IPv6" if family_of(bind) == socket.AF_INET6 else "IPv4"
        if spare:
            return warn(subject, f"this machine has no {family}; the listener starts without it")
        return fail(subject, f"this machine has no {family}")
    wrong = error.errno
    # the kernel asks for the privilege first, so the address may be taken, too
    refused = wrong in (errno.EACCES, errno.EPERM)
    if wrong == errno.EADDRINUSE or (refused and _is_open(bind)):
        return who()
    if refused:
        return fail(
            subject, "may not be bound by this user; use the systemd units, or give CAP_NET_BIND_SERVICE"
        )
    if wrong == errno.EADDRNOTAVAIL:
        return fail(subject, "is no address of this machine")
    return fail(subject, f"cannot be bound ({error.strerror or error})")


def _bind(bind: str) -> OSError | None:
    """Bind as the daemon does, for a moment. Returns the error, or None when it works."""
    try:
        open_socket(bind).close()
    except OSError as exc:
        return exc
    return None


def _reachable(bind: str) -> tuple[str, int]:
    """The address to connect to for a bind: loopback for the wildcard."""
    host, port = split_bind(bind)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def _is_open(bind: str) -> bool:
    """Returns whether somebody listens there."""
    try:
        socket.create_connection(_reachable(bind), timeout=_PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


def _meet(subject: str, place: Place, config: Config) -> Finding:
    """Examine who listens there: a relay of ours greets (RFC 5321 §4.2) or refuses in words that we know."""
    said = _hear(place, config)
    if said in {
        str(replies.fill(replies.GREETING, hostname=config.hostname, protocol=protocol))
        for protocol in ("ESMTP", "LMTP")
    }:
        return ok(subject, "a relay answers")
    if said in _NOT_NOW:
        return warn(subject, f'a relay answers, and sends peers away: "{said}"')
    if re.sub(r" \[[0-9A-Z]+\]$", "", said) == str(replies.ACCESS_DENIED):
        return ok(subject, "a relay answers; this machine is not among those that it allows")
    return fail(subject, f"taken by another program{_quote(said)}; stop it, or take another port")


def _quote(said: str) -> str:
    """The greeting of another program, made safe for a terminal."""
    if not said:
        return " (or a relay that hangs: nothing is said there)"
    text = "".join(each if each.isprintable() else "?" for each in said)
    return f' (it says "{text if len(text) <= _QUOTED else text[:_QUOTED] + " ..."}")'


def _hear(place: Place, config: Config) -> str:
    """The first line that is sent at a listener; "" when none is."""
    line = b""
    if place.listener.tls == "implicit":
        with suppress(OSError):
            line = _knock(place, config, tls=True)
    if not line:  # a peer that is sent away is told so before TLS, too
        with suppress(OSError):
            line = _knock(place, config, tls=False)
    return line.partition(b"\r\n")[0].decode("ascii", "backslashreplace")


def _knock(place: Place, config: Config, *, tls: bool) -> bytes:
    """Connect, and read the first octets that are sent.

    Raises:
        OSError: none came, not in time, or not under TLS (ssl.SSLError is one).
    """
    with ExitStack() as opened:
        sock = opened.enter_context(
            socket.create_connection(
                _reachable(place.bind),
                # The greeting is delayed for peers that may be early talkers.
                timeout=_PATIENCE_SECONDS + config.limits.early_talker_seconds,
            )
        )
        ours = parse_address(normalise_peer(sock.getsockname()[0]))
        if any(ours in parse_network(network) for network in place.listener.proxy_protocol):
            sock.sendall(_LOCAL)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # the certificate has its own line
            sock = opened.enter_context(context.wrap_socket(sock))
        line = sock.recv(512)
        with suppress(OSError):  # a listener that sends us away has closed
            sock.sendall(b"QUIT\r\n")
    return line


def _look(subject: str, bind: str) -> Finding:
    """Examine whether /livez there answers as ours does: 200, our name as the server, and our word."""
    said = b""
    with suppress(OSError):
        said = _ask_livez(bind)
    head, _, body = said.partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    is_well = re.fullmatch(rb"HTTP/1\.[01] 200 .*", status) is not None
    if is_well and f"Server: {PROGRAM}".encode() in fields and body == b"ok\n":
        return ok(subject, "a relay answers")
    return fail(
        subject,
        "taken by another program, or by a relay older than this command; stop it, or take another port",
    )


def _ask_livez(bind: str) -> bytes:
    """The whole answer to GET /livez, as far as it comes in time and is of a size that ours has.

    Raises:
        OSError: nobody answers.
    """
    host, port = _reachable(bind)
    said = b""
    end = time.monotonic() + _PATIENCE_SECONDS
    with socket.create_connection((host, port), timeout=_PATIENCE_SECONDS) as sock:
        sock.sendall(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
        while len(said) < _MOST_BYTES and (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            octets = sock.recv(_MOST_BYTES)
            if not octets:
                break
            said += octets
    return said
