"""The peer: the facts that a session knows of the other side, from its address to its login.

Owns how these facts grow and how they are forgotten (RFC 5321 §4.1.4, RFC 3207 §4.2, Postfix's XCLIENT), and
the frozen `Peer` that a mail carries. `session` decides who may say what of itself.
"""

from __future__ import annotations

from relay.envelope import Peer
from relay.networks import believe_address
from relay.smtp.settings import ListenerSettings
from relay.smtp.xclient import Xclient


def read_name(argument: bytes, *, legacy: bool) -> str | None:
    """The name of a peer as text that can be shown. Returns None for what is no name.

    Legacy systems may send blanks, 8-bit octets, or none.
    """
    proper = argument and b" " not in argument and argument.isascii()
    if len(argument) > 255 or not (proper or legacy):
        return None
    text = argument.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


_NOT_TOLD = Xclient()


class PeerState:
    """The other side of one session, as far as it is known."""

    __slots__ = (
        "_front_end",
        "_peer",
        "_proxied_tls",
        "_settings",
        "_told",
        "address",
        "authenticated",
        "extended",
        "forwarded",
        "helo",
        "port",
        "tls",
    )

    def __init__(
        self,
        *,
        settings: ListenerSettings,
        address: str,
        port: int,
        tls: str | None = None,
        front_end: str = "",
    ) -> None:
        self.address = address
        self.port = port
        #: None until the peer has given its name.
        self.helo: str | None = None
        #: True if the name came by EHLO or LHLO.
        self.extended = False
        self.tls: str | None = None
        #: The login, or the name of the client's certificate.
        self.authenticated: str | None = None
        self._settings = settings
        #: The TLS that a listed proxy has ended before us.
        self._proxied_tls = tls
        #: The proxy or front-end that has named the peer; "" while nobody has.
        self._front_end = front_end
        #: The client of one mail, as a listed front-end has named it. The session forgets it with the mail.
        self.forwarded: Xclient | None = None
        self._told: Xclient | None = None  # the client that stands in `_peer`
        #: The value that `peer` gave last, kept until a fact changes.
        self._peer: Peer | None = None

    def greets(self, helo: str, *, extended: bool) -> None:
        """Note the name that the peer gave in HELO, EHLO or LHLO."""
        self.helo = helo
        self.extended = extended
        self._peer = None

    def secured(self, tls: str, *, certificate: str | None) -> None:
        """Note that TLS is up, and forget all that the peer said of itself before (RFC 3207 §4.2)."""
        self.tls = tls
        self.authenticated = certificate
        self._forget()

    def is_another(self, told: Xclient) -> None:
        """Note that a front-end speaks for somebody else."""
        told_address = believe_address(told.address or self.address, self.address)
        if told_address != self.address:
            self._front_end = self.address
        self.address = told_address
        self.port = told.port if told.port is not None else self.port
        self.authenticated = told.login or self.authenticated
        self._forget()

    def forwards(self, told: Xclient) -> None:
        """Note the client of the next mail; a further XFORWARD adds to what was told."""
        before = self.forwarded or told
        self.forwarded = Xclient(
            address=told.address or before.address,
            port=told.port if told.port is not None else before.port,
            helo=told.helo or before.helo,
        )
        self._peer = None

    def logs_in(self, login: str) -> None:
        """Note that the peer's password was good."""
        self.authenticated = login
        self._peer = None

    def peer(self, *, smtputf8: bool) -> Peer:
        """The other side as it stands now, in a transaction with SMTPUTF8 or without."""
        protocol = self._protocol(smtputf8=smtputf8)
        if self._peer is None or self._peer.protocol != protocol or self._told is not self.forwarded:
            self._told = self.forwarded
            told = self._told or _NOT_TOLD
            self._peer = Peer(
                address=believe_address(told.address or self.address, self.address),
                port=told.port if told.port is not None else self.port,
                helo=told.helo or self.helo or None,
                protocol=protocol,
                tls=self.tls or self._proxied_tls,
                login=self.authenticated,
                role=self._settings.listener.role,
                listener=self._settings.bind,
                front_end=self.address if told.address else self._front_end,
            )
        return self._peer

    def _forget(self) -> None:
        self.forwarded = None
        self.helo = None
        self.extended = False
        self._peer = None

    def _protocol(self, *, smtputf8: bool) -> str:
        """The transmission type (RFC 3848, RFC 6531 §4.3)."""
        if not self.extended:
            return "SMTP"
        suffix = ("S" if self.tls else "") + ("A" if self.authenticated else "")
        base = "LMTP" if self._settings.lmtp else "SMTP"
        if smtputf8:
            return f"UTF8{base}{suffix}"
        return (base if self._settings.lmtp else "ESMTP") + suffix
