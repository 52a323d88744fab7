"""The attributes of a contact that `relay erase --connect` makes empty."""

from __future__ import annotations

import pytest

from relay.cli.erase_outside import find_ours
from relay.config.builtin import builtin_config
from relay.config.contact import Contact

THERE = {"relay_tag": "x", "desk": "a", "lob": "b", "from_a_hook": "c", "of_the_flow": "d", "tag": "e"}


@pytest.mark.parametrize(
    ("prefix", "ours"),
    [
        ("relay_", ["relay_tag", "desk", "lob", "from_a_hook"]),
        ("", ["desk", "lob", "from_a_hook", "tag"]),
    ],
)
def test_only_our_attributes_are_found(prefix, ours):
    """Ours are known by prefix, configuration and handlers; what a flow has set is nobody's but its own."""
    contact = Contact(attribute_prefix=prefix, attributes={"desk": "support"})
    base = builtin_config()
    route = base.routes[0].model_copy(update={"attributes": {"lob": "claims"}})
    config = base.model_copy(update={"contact": contact, "routes": (route,)})
    assert list(find_ours(config, THERE, ("from_a_hook",))) == ours
