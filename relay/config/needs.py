"""The files that listeners need: a certificate with its key, and logins.

Owns these rules between keys; `relay.config.model` asks for them when each key is right by itself. Never
looks at a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from relay.config.listener import Listener, Tls


def unmet_needs(listeners: Sequence[Listener], tls: Tls, users_file: Path | None) -> Iterator[str]:
    """The sentences for listeners without the certificate or the logins that they need, and for half a pair
    of files.
    """
    for index, listener in enumerate(listeners):
        name = f"listeners[{index}]"
        if listener.tls in ("required", "implicit") and not (tls.certificate and tls.key):
            yield f'{name}.tls = "{listener.tls}": needs tls.certificate and tls.key; give both'
        if listener.auth == "none":
            continue
        if listener.role != "trusted" or listener.tls == "none":
            yield f'{name}.auth = "{listener.auth}": needs role = "trusted" and a tls other than "none"'
        elif users_file is None:
            yield f'{name}.auth = "{listener.auth}": needs server.users_file; name the file of logins'
    if tls.certificate and not tls.key:
        yield f'tls.certificate = "{tls.certificate}": needs tls.key; give both or neither'
    if tls.more and not tls.certificate:
        yield "tls.more: needs tls.certificate and tls.key, the certificate of all other names; give both"
    if tls.key and not tls.certificate:
        yield f'tls.key = "{tls.key}": needs tls.certificate; give both or neither'
