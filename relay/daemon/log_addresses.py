"""The form of addresses in the log of this process, as `log.addresses` asks for it.

Owns which addresses are the operator's own. Makes the key of hashes where there is none.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from relay.config import Config
from relay.errors import SpoolError
from relay.telemetry.addresses import Hide, build_hide

#: What stands for an address while the key cannot be had, which the start of the spool tells of.
_NO_KEY = "hmac-?"


def find_hide(config: Config) -> Hide | None:
    """The function that hides addresses. Returns None where the log has them in full."""
    if config.log.addresses == "full":
        return None
    own = {config.contact.fallback_from}
    for route in config.routes:
        own |= {*route.match, route.name, *([route.destination] if route.destination else [])}
    if config.log.addresses == "domain":
        return build_hide(own=own, name=None)
    # Imported late: the supervisor has no other use for the spool, and its memory is for all the time.
    from relay.spool.opening import make_address_key  # noqa: PLC0415 - see above
    from relay.spool.pseudonyms import name_address  # noqa: PLC0415 - see above

    with suppress(SpoolError):
        return build_hide(own=own, name=partial(name_address, make_address_key(config)))
    return build_hide(own=own, name=lambda _: _NO_KEY)
