"""Which files go first."""

from __future__ import annotations

import pytest
from factory import make_hollow, make_message, make_part

from relay.contact.candidates import Candidate, Role, collect_candidates
from relay.contact.ranking import Rank, rank_candidate


def picture(size, name, disposition="inline"):
    return make_hollow(size, name=name, content_type="image/png", disposition=disposition)


@pytest.mark.parametrize(
    ("part", "shown", "rank"),
    [
        (make_part(name="invoice.pdf"), False, Rank.DOCUMENT),
        (make_part(name="invoice.pdf", disposition="inline"), False, Rank.DOCUMENT),
        (
            make_part(name="noname", content_type="application/octet-stream", disposition=""),
            False,
            Rank.DOCUMENT,
        ),
        (picture(3_000_000, "IMG_0001.jpg", "attachment"), False, Rank.PICTURE),
        (picture(3_000_000, "IMG_0001.jpg"), False, Rank.PICTURE),  # iPhones send photographs inline
        (picture(2_000, "invoice.png", "attachment"), False, Rank.PICTURE),
        (picture(2_000, "pixel.gif"), False, Rank.DECORATION),
        (picture(40_000, "company-logo.png"), False, Rank.DECORATION),
        (picture(40_000, "image001.png"), False, Rank.DECORATION),
        (picture(40_000, "logo.png", "attachment"), False, Rank.PICTURE),
        (picture(4_000, "logo.png", "attachment"), False, Rank.DECORATION),
        (picture(40_000, "shown.png"), True, Rank.DECORATION),
        (picture(4_000_000, "shown.png"), True, Rank.SHOWN),
        (make_part(name="voice.wav", content_type="audio/wav"), False, Rank.RECORDING),
        (make_part(name="clip.MP4", content_type="video/mp4"), False, Rank.RECORDING),
        (make_part(name="logotype-guidelines.pdf"), False, Rank.DOCUMENT),
    ],
)
def test_ranks(part, shown, rank):
    """Documents before pictures before recordings, and logos last, however they are declared."""
    (candidate,) = collect_candidates(make_message(attachments=[part]))
    assert rank_candidate(candidate, shown=shown) is rank


@pytest.mark.parametrize(
    ("role", "rank"),
    [
        (Role.TEXT, Rank.OWN_TEXT),
        (Role.HTML, Rank.OWN_TEXT),
        (Role.RENDERED, Rank.RENDERED),
        (Role.LIFTED, Rank.LIFTED),
    ],
)
def test_ranks_by_role(role, rank):
    """The mail's own words go first; what was lifted out of attached messages goes after the mail's own
    files.
    """
    candidate = Candidate(
        number=1,
        role=role,
        name="x.pdf",
        content_type="application/pdf",
        size=1,
        sha256="",
        chunks=lambda: iter(()),
    )
    assert rank_candidate(candidate, shown=False) is rank
