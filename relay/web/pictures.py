"""The pictures that the page draws: raster types that any browser decodes, of a size that it can hold.

Owns that choice, made by the octets and never by the name or type that a mail gave. Never does I/O.
"""

from __future__ import annotations

from typing import Final

from relay.message.sniff import detect_type, measure_picture

_RASTER: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
#: Octets of a picture, and its pixels: at four octets each they take 160 MB while it is drawn.
MOST_OCTETS: Final = 20_000_000
MOST_PIXELS: Final = 40_000_000


def drawable_type(octets: bytes) -> str | None:
    """The media type of a picture that may be drawn. Returns None for all else."""
    if len(octets) > MOST_OCTETS:
        return None
    kind = detect_type(octets[:4_096])
    if kind not in _RASTER:
        return None
    size = measure_webp(octets) if kind == "image/webp" else measure_picture(octets)
    if size is None or size[0] * size[1] > MOST_PIXELS or not all(size):
        return None
    return kind


def measure_webp(octets: bytes) -> tuple[int, int] | None:
    """The width and height of a WebP picture (RFC 9649 §2.5 to §2.7). Returns None for another beginning."""
    chunk = octets[12:16]
    if chunk == b"VP8X" and len(octets) >= 30:
        return _little(octets[24:27]) + 1, _little(octets[27:30]) + 1
    if chunk == b"VP8L" and len(octets) >= 25:
        bits = _little(octets[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and len(octets) >= 30:
        return _little(octets[26:28]) & 0x3FFF, _little(octets[28:30]) & 0x3FFF
    return None


def _little(octets: bytes) -> int:
    return int.from_bytes(octets, "little")
