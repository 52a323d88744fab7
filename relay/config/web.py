"""The keys of the page over the queue: where it is, who may see it, and what of it.

Owns `[web]`. Never opens a socket or reads a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.config.listener import Network, OptionalBinds
from relay.config.section import Section
from relay.config.words import WholePath, fits, split_bind
from relay.networks import parse_address

#: A field name of RFC 9110 §5.1.
_check_field = fits(
    r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}",
    'is no name of a header field; write it like "X-Forwarded-User"',
)


class Web(Section):
    """The page over the queue, and who may see it."""

    #: None at all turns the page off.
    bind: OptionalBinds = ()
    auth: Literal["token", "basic", "proxy"] = "token"
    users_file: WholePath | None = None
    tls: Literal["none", "proxy"] = "none"
    proxies: tuple[Network, ...] = ()
    user_header: Annotated[str, AfterValidator(_check_field)] = "X-Forwarded-User"
    content: bool = False
    actions: bool = False
    session_hours: float = Field(default=12.0, gt=0, le=720)


def list_needs(web: Web) -> Iterator[str]:
    """The sentences for a page that would let nobody in, or would let passwords out."""
    if not web.bind:
        return
    if web.auth == "proxy":
        if not web.proxies:
            yield (
                'web.auth = "proxy": needs web.proxies; name the networks of the reverse proxy that signs people in, '
                'as in ["127.0.0.1/32"]'
            )
        return
    if web.users_file is None:
        yield f'web.auth = "{web.auth}": needs web.users_file; name a file of logins for the page, which `relay passwd --file` writes'
    for bind in web.bind:
        if web.tls == "none" and not parse_address(split_bind(bind)[0]).is_loopback:
            yield (
                f'web.bind = "{bind}": passwords would cross the network in clear; bind 127.0.0.1, or say '
                'web.tls = "proxy" where only a reverse proxy that speaks TLS reaches it'
            )
