"""The fit as a whole: always valid, nothing lost, everything said."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from examples import examples
from factory import FOLDER, make_config, make_context, make_hollow, make_message, make_part, make_route
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.aws.request_limits import check_request
from relay.contact.adaptations import AdaptationCode
from relay.contact.fit import fit
from relay.contact.limits import BODY_BYTES
from relay.contact.request import build_request
from relay.message.model import Mailbox
from relay.vocabulary import Classification, Rung

MIB = 1_048_576
#: The rungs that `fit` makes.
FITTED = (Rung.FULL, Rung.TRIMMED, Rung.TEXT)
URL = "https://bucket.s3.eu-central-1.amazonaws.com/mail/1?" + "x" * 1_400


def plan(message, *, context=None, rung=Rung.FULL, refused=(), config=None):
    config = config or make_config()
    return fit(
        message, context or make_context(), make_route(config), config, rung=rung, refused=frozenset(refused)
    )


def problems(made, *, max_attachments=10):
    attached = [file for file in made.files if file.attached]
    request = build_request(made, [URL] * len(attached), client_token="t")
    return check_request(request, max_attachments=max_attachments, sizes=[file.size for file in attached])


def codes(made):
    return [str(change.code) for change in made.adaptations]


def lost(message, made):
    """The leaves whose octets are neither in the request, nor stored, nor named in an adaptation."""
    kept = {file.sha256 for file in made.files}
    kept.update(
        re.findall(r"[0-9a-f]{64}", " ".join(f"{one.before} {one.after}" for one in made.adaptations))
    )
    leaves = [part for part in message.attachments if part.sha256 not in kept]
    seen = re.sub(
        r"\n<hr>\n<p>.*?</p>\n", "", made.body, flags=re.DOTALL
    )  # a note stands inside the document
    for part in message.bodies:
        words = message.html if part.content_type == "text/html" else message.text
        for one in (part for part in message.attachments if part.content_id):
            # What a picture replaced is undone: the rest of the HTML must be as it was sent.
            uri = base64.b64encode(b"".join(one.chunks())).decode()
            seen = re.sub(
                rf"data:image/[a-z]+;base64,{re.escape(uri)}(?![A-Za-z0-9+/=])", f"cid:{one.content_id}", seen
            )
        if words not in seen and part.sha256 not in kept:
            leaves.append(part)
    return leaves


def test_ordinary_mail_is_not_changed():
    """Text with an invoice goes as it is, and its original is not stored."""
    message = make_message(text="Please find it attached.\n", attachments=[make_part(name="invoice.pdf")])
    made = plan(message)
    assert made.adaptations == ()
    assert made.original_key is None
    assert made.body == "Please find it attached.\n"
    assert problems(made) == ()


@pytest.mark.parametrize(("keep", "changed", "expected"), [
    ("adapted", False, None),
    ("adapted", True, f"{FOLDER}original.eml"),
    ("always", False, f"{FOLDER}original.eml"),
    ("never", True, None),
])  # fmt: skip
def test_original_is_kept_as_configured(keep, changed, expected):
    """Whenever anything was changed, always, or never; the attribute names the key."""
    made = plan(make_message(text="" if changed else "hi"), config=make_config(s3={"keep_original": keep}))
    assert made.original_key == expected
    assert made.attributes.get("relay_original") == expected


@pytest.mark.parametrize(("own", "expected"), [(None, True), ("never", False), ("always", True)])
def test_original_is_kept_as_the_route_says(own, expected):
    """A route's own word goes before that of the bucket."""
    config = make_config(s3={"keep_original": "always"}, keep_original=own)
    made = plan(make_message(text="hi"), config=config)
    assert (made.original_key is not None) is expected


def test_attributes_name_every_adaptation():
    """The attribute lists the codes of the plan, those of the attributes included."""
    message = replace(make_message(subject="x" * 1_000), message_id="<" + "i" * 5_000 + ">")
    made = plan(message)
    assert made.attributes["relay_adaptations"].split(" ") == codes(made)
    assert codes(made) == ["subject.too_long", "body.empty", "attribute.cut"]


def test_classification_of_a_null_reverse_path():
    """The class is what the classifier says of mail and envelope."""
    made = plan(make_message(text="x"), context=make_context(reverse_path=None))
    assert made.attributes["relay_classification"] == made.classification
    assert made.classification in set(Classification)


def test_body_that_just_fits_is_not_cut_for_a_note():
    """Room for the note is only made where there is one, and the note never breaks the limit."""
    text = "x" * BODY_BYTES
    assert plan(make_message(text=text)).body == text
    made = plan(make_message(text=text, attachments=[make_part(name="x.zip")]))
    assert len(made.body.encode()) <= BODY_BYTES
    assert f"{FOLDER}1" in made.body
    assert problems(made) == ()
    assert [file.name for file in made.files if file.attached] == ["message.txt"]


def test_body_and_files_share_25_mb():
    """A picture in the body costs a third more than as a file, and both count."""
    html = "<p>" + "x" * 4 * MIB
    message = make_message(
        html=html, attachments=[make_hollow(20 * MIB, name="a.pdf"), make_hollow(2 * MIB, name="b.pdf")]
    )
    made = plan(message)
    assert [file.name for file in made.files if file.attached] == ["a.pdf"]
    assert codes(made) == ["attachments.too_large", "body.note"]
    assert problems(made) == ()


def test_note_in_the_last_bytes_of_25_mb():
    """When the note itself does not fit beside the files, a file gives way."""
    files = [
        make_hollow(20 * MIB, name="a.pdf"),
        make_hollow(5 * MIB - 10, name="b.pdf"),
        make_part(name="x.zip"),
    ]
    made = plan(make_message(text="0123456789", attachments=files))
    assert problems(made) == ()
    assert [file.name for file in made.files if file.attached] == ["a.pdf"]


@pytest.mark.slow
def test_fifty_thousand_recipients_fit():
    """A header bomb becomes 49 recipients and one record."""
    message = make_message(text="hi", to=[f"to{n}@x.example" for n in range(50_000)])
    made = plan(message)
    assert problems(made) == ()
    assert len(made.to) == 49


def test_the_ladder_gets_simpler():
    """Each rung drops what could have been refused, and says so."""
    html = '<p>Hi <img src="cid:x"></p>'
    picture = make_part(b"png", name="x.png", content_type="image/png", content_id="x")
    message = make_message(
        text="Hi", html=html, to=["bob@x.example"], cc=["eve@x.example"], attachments=[picture, make_part(name="a.pdf")], message_id="<1@x>"
    )  # fmt: skip
    context = make_context(related_contact_id="contact-1")
    full, trimmed, last = (plan(message, context=context, rung=rung) for rung in FITTED)
    assert [file.name for file in full.files if file.attached] == ["a.pdf"]
    assert trimmed.content_type == "text/html"
    assert not any(file.attached for file in (*trimmed.files, *last.files))
    assert (last.content_type, dict(last.headers), last.to, last.cc) == ("text/plain", {}, (), ())
    assert last.related_contact_id is None
    assert last.body == (
        "Hi\n\n-- \nTo: bob@x.example\nCc: eve@x.example\nNot attached to this contact, but kept:\n"
        f"- x.png (3 bytes): refused with this contact; {FOLDER}1\n"
        f"- a.pdf (7 bytes): refused with this contact; {FOLDER}2\n"
        f"The whole mail as it was received: {FOLDER}original.eml\n"
    )
    assert codes(last) == [
        "recipients.left_out", "thread.left_out", "body.alternative", "attachment.refused", "attachment.refused", "body.note",
    ]  # fmt: skip


def test_second_rung_leaves_what_was_named():
    """Only the refused file stays behind, under the same name and key as before."""
    message = make_message(text="Hi", attachments=[make_part(name="a.pdf"), make_part(name="b.pdf")])
    made = plan(message, rung=Rung.TRIMMED, refused=["a.pdf"])
    assert [(file.name, file.attached) for file in made.files] == [("b.pdf", True), ("a.pdf", False)]


@pytest.mark.slow
def test_keys_do_not_depend_on_the_route():
    """Two destinations under two routes store the same octets under the same keys."""
    picture = make_part(b"png", name="x.png", content_type="image/png", content_id="x")
    message = make_message(
        text="Hi", html='<img src="cid:x">' + "y" * 6 * MIB, attachments=[picture, make_part(name="a.pdf")]
    )
    seen = {}
    for config in (
        make_config(),
        make_config(prefer="text"),
        make_config(connect={"allowed_extensions": ("eml", "html")}),
    ):
        for rung in FITTED:
            for file in plan(message, config=config, rung=rung).files:
                assert seen.setdefault(file.key, file.sha256) == file.sha256
    assert len(seen) == 3


TEXT = st.text(st.characters(codec=None, categories=None), max_size=30)
NAMES = st.one_of(
    st.none(),
    TEXT,
    st.sampled_from(
        [
            "a.pdf",
            "A.PDF",
            "x.zip",
            "logo.png",
            "../x",
            "con",
            "winmail.dat",
            "x" * 300 + ".docx",
            "\u202efdp.exe",
        ]
    ),
)
TYPES = st.sampled_from(
    ["application/pdf", "image/png", "image/gif", "text/calendar", "application/octet-stream", "x/y z"]
)
SIZES = st.sampled_from([None, None, None, 0, 1, 8 * MIB, 20 * MIB, 20 * MIB + 1])
ADDRESSES = st.one_of(
    TEXT,
    st.sampled_from(
        ["a@b.example", "support@example.com", "sales@example.com", "root@localhost", "ü@ü.example"]
    ),
)
IDS = st.lists(st.one_of(TEXT, st.sampled_from(["<a@x>", "<" + "b" * 9_000 + ">"])), max_size=4).map(tuple)
HTML = st.one_of(
    TEXT,
    st.sampled_from(
        [
            '<p>Hi <img src="cid:0"> <img src="cid:1">',
            "<!-- never",
            "<p>&nbsp;",
            "<body>x</body></html>",
            "<style>",
        ]
    ),
)


@st.composite
def parts(draw):
    octets = draw(st.binary(max_size=40))
    part = make_part(
        octets,
        name=draw(NAMES),
        content_type=draw(TYPES),
        disposition=draw(st.sampled_from(["", "inline", "attachment"])),
        content_id=draw(st.sampled_from([None, "0", "1"])),
        content_location=draw(st.sampled_from([None, "x.png"])),
        detected_type=draw(st.sampled_from([None, "application/pdf", "image/png"])),
    )
    size = draw(SIZES)
    # A part that claims to be large is only for the choice of files: its octets are never read.
    return part if size is None or part.content_id else replace(part, size=size)


@st.composite
def messages(draw, depth=2):
    attachments = draw(st.lists(parts(), max_size=12))
    embedded = []
    if depth and attachments and draw(st.booleans()):
        embedded = [(0, draw(messages(depth=depth - 1)))]
    message = make_message(
        subject=draw(TEXT),
        author=None,
        text=draw(TEXT) * draw(st.sampled_from([1, 1, 1, 2_000])),
        html=draw(HTML),
        attachments=attachments,
        embedded=embedded,
        message_id=draw(st.one_of(st.none(), TEXT)),
        in_reply_to=draw(IDS),
        references=draw(IDS),
    )
    mailboxes = st.lists(st.builds(Mailbox, address=ADDRESSES, name=TEXT), max_size=5).map(tuple)
    return replace(
        message, **{field: draw(mailboxes) for field in ("author", "sender", "reply_to", "to", "cc")}
    )


CONFIGS = st.builds(
    make_config,
    connect=st.fixed_dictionaries(
        {
            "max_attachments": st.sampled_from([0, 1, 10]),
            "allowed_extensions": st.sampled_from([("pdf", "txt", "png"), ("eml", "zip", "bin"), ()]),
            "max_total_bytes": st.sampled_from([1, 1_000, 25 * MIB]),
        }
    ),
    s3=st.fixed_dictionaries({"keep_original": st.sampled_from(["adapted", "always", "never"])}),
    prefer=st.sampled_from(["html", "text"]),
    prefer_reply_to=st.booleans(),
)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    message=messages(),
    config=CONFIGS,
    rung=st.sampled_from(FITTED),
    refused=st.frozensets(st.sampled_from(["a.pdf", "logo.png", f"{FOLDER}1", "other"])),
    reverse_path=st.one_of(st.none(), ADDRESSES),
)
@pytest.mark.slow
def test_any_message_becomes_a_valid_request_and_nothing_is_lost(
    message, config, rung, refused, reverse_path
):
    """Whatever the mail, the request is valid at every rung, each leaf is kept, and the same plan comes
    again.
    """
    context = make_context(reverse_path=reverse_path)
    made = plan(message, context=context, rung=rung, refused=refused, config=config)
    assert problems(made, max_attachments=config.connect.max_attachments) == ()
    assert lost(message, made) == []
    assert made == plan(message, context=context, rung=rung, refused=refused, config=config)
    assert len({file.key for file in made.files}) == len(made.files)
    assert len({file.name.casefold() for file in made.files}) == len(made.files)
    assert all(code in set(AdaptationCode) for code in codes(made))
    if config.s3.keep_original == "adapted":
        assert (made.original_key is None) == (made.adaptations == ())


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_inlined_octets_are_in_the_body(pictures):
    """A picture that is no file stands in the body octet for octet."""
    attachments = [
        make_part(octets, name=f"{n}.png", content_type="image/png", content_id=str(n))
        for n, octets in enumerate(pictures)
    ]
    html = "".join(f'<img src="cid:{n}">' for n in range(len(pictures)))
    made = plan(make_message(html=html, attachments=attachments))
    found = re.findall(r"base64,([^\"]+)\"", made.body)
    assert [base64.b64decode(one) for one in found] == pictures
    assert made.files == ()


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages(depth=1), st.integers(0, 5), st.integers(0, 5))
@pytest.mark.slow
def test_a_larger_limit_never_loses_an_attachment(message, one, more):
    """Whoever may send more attachments sends at least the same number."""
    few, many = (
        sum(
            file.attached
            for file in plan(message, config=make_config(connect={"max_attachments": limit})).files
        )
        for limit in (one, one + more)
    )
    assert few <= many
