"""What lies packed inside a leaf: Outlook's winmail.dat, opaque S/MIME, uuencode in text.

Owns the choice of what is opened. The leaf itself stays a leaf.
"""

from __future__ import annotations

from relay.message.tree import Node, TreeBuilder


def unpack(builder: TreeBuilder, node: Node, depth: int) -> tuple[Node, ...]:
    """The nodes found inside a leaf, in order; none for most."""
    del builder, node, depth
    return ()
