"""StartEmailContact through the real client, against the simulator: what comes back, and what each refusal
means.
"""

from __future__ import annotations

import pytest
from aws_parts import (
    MEBIBYTE,
    Peer,
    answer,
    clients_of,
    nobody,
    octets,
    planned,
    read_head,
    request_for,
)

from relay.aws.connect import ConnectClient, named_attachments
from relay.aws.s3 import AttachmentStore
from relay.config.builtin import builtin_config
from relay.errors import FailureClass, RemoteError
from relay.sandbox.limits import Refusal

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def connect(clients):
    return ConnectClient(clients.connect)


async def refusal(call) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await call
    assert caught.value.service == "connect"
    return caught.value


async def test_a_request_becomes_a_contact(connect, box):
    """The id that comes back is the contact's, and the contact holds the request as it was sent."""
    request = request_for()
    contact_id = await connect.start_email_contact(request)
    (contact,) = box.contacts()
    assert contact["contact_id"] == contact_id
    assert contact["request"] == request


async def test_every_character_of_a_body_arrives(connect, box):
    """JSON escapes what is not ASCII; a large body in three scripts and emoji is the same afterwards."""
    body = 'Grüße, 見積書, Привет 👋🏽 \\ "quoted"\n' * 60_000
    raw = {"Subject": "Grüße 見積書 👋", "Body": body, "ContentType": "text/html"}
    await connect.start_email_contact(
        request_for(EmailMessage={"MessageSourceType": "RAW", "RawMessage": raw})
    )
    assert box.contacts()[0]["request"]["EmailMessage"]["RawMessage"] == raw


SEVEN = {
    "InvalidRequestException": FailureClass.PAYLOAD,
    "ServiceQuotaExceededException": FailureClass.CAPACITY,
    "AccessDeniedException": FailureClass.CONFIGURATION,
    "ResourceNotFoundException": FailureClass.CONFIGURATION,
    "IdempotencyException": FailureClass.CONFLICT,
    "ThrottlingException": FailureClass.THROTTLED,
    "InternalServiceException": FailureClass.TEMPORARY,
}


@pytest.mark.parametrize(("code", "failure"), SEVEN.items())
async def test_each_modelled_error_is_its_class(connect, clients, box, code, failure):
    """All seven errors of the service model: the client raises its own class, we say what it means."""
    box.connect.planned.append(Refusal(code=code, message="because"))
    error = await refusal(connect.start_email_contact(request_for()))
    assert (error.failure, error.code) == (failure, code)
    assert error.detail.startswith("because")
    assert type(error.__cause__) is getattr(clients.connect.exceptions, code)


@pytest.mark.parametrize("code", ["ServiceQuotaExceededException", "InvalidRequestException"])
async def test_an_attachment_reason_speaks_of_the_payload(connect, box, code):
    """402 for a reason that lies in the files is no matter of waiting; the reason is kept."""
    word = {"TOTAL_FILE_COUNT_EXCEEDED": f"AttachedFile{code.removesuffix('Exception')}ExceptionReason"}
    ((reason, member),) = word.items()
    box.connect.planned.append(Refusal(code=code, message="too much", reason={member: reason}))
    error = await refusal(connect.start_email_contact(request_for()))
    assert (error.failure, error.reason, error.named) == (FailureClass.PAYLOAD, reason, ())


async def stored(clients, sizes):
    store = AttachmentStore(clients.s3, config=builtin_config().s3)
    files = [planned(octets(size), f"mail/01T/{number}") for number, size in enumerate(sizes)]
    return (await store.put_all(files)).urls


async def test_a_refused_file_is_named(connect, clients):
    """A file that Connect does not take is named, so that the next rung leaves only that one out."""
    urls = await stored(clients, (10, 20, 30))
    names = ("a.pdf", "tool.exe", "data.pdf")
    error = await refusal(connect.start_email_contact(request_for(*urls, names=names)))
    assert (error.failure, error.reason, error.named) == (
        FailureClass.PAYLOAD,
        "INVALID_FILE_TYPE",
        ("tool.exe",),
    )


async def test_a_file_above_20_megabytes_is_named(connect, clients):
    """A single attachment has at most 20 MB."""
    urls = await stored(clients, (10, 20 * MEBIBYTE + 1))
    error = await refusal(connect.start_email_contact(request_for(*urls)))
    assert (error.failure, error.reason, error.named) == (
        FailureClass.PAYLOAD,
        "INVALID_FILE_SIZE",
        ("paper-1.pdf",),
    )


async def test_more_than_25_megabytes_in_all_are_refused(connect, clients):
    """Body and attachments together have at most 25 MB; nothing is named, for no file is at fault alone."""
    urls = await stored(clients, (13 * MEBIBYTE, 13 * MEBIBYTE))
    error = await refusal(connect.start_email_contact(request_for(*urls)))
    assert (error.failure, error.reason, error.named) == (
        FailureClass.PAYLOAD,
        "TOTAL_FILE_SIZE_EXCEEDED",
        (),
    )


async def test_more_attachments_than_the_quota_are_refused(connect):
    """The eleventh attachment is one too many where the instance takes ten."""
    urls = [f"https://bucket.example/{number}" for number in range(11)]
    error = await refusal(connect.start_email_contact(request_for(*urls)))
    assert (error.failure, error.reason) == (FailureClass.PAYLOAD, "TOTAL_FILE_COUNT_EXCEEDED")


async def test_what_the_client_itself_refuses_is_the_payload_too(connect):
    """Botocore sends no empty body; that is said as the service would say it."""
    raw = {"Subject": "s", "Body": "", "ContentType": "text/plain"}
    request = request_for(EmailMessage={"MessageSourceType": "RAW", "RawMessage": raw})
    error = await refusal(connect.start_email_contact(request))
    assert (error.failure, error.code) == (FailureClass.PAYLOAD, "ParamValidationError")


@pytest.mark.parametrize(
    "change",
    [
        {"InstanceId": "00000000-0000-0000-0000-000000000000"},
        {"DestinationEmailAddress": "nobody@elsewhere.example"},
    ],
)
async def test_what_does_not_exist_is_the_operators_matter(connect, change):
    """An instance or a destination that Connect does not know holds the route."""
    error = await refusal(connect.start_email_contact(request_for(**change)))
    assert (error.failure, error.code) == (FailureClass.CONFIGURATION, "ResourceNotFoundException")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "InvalidSignatureException"),
        ({"AWS_ACCESS_KEY_ID": "AKIAOTHER"}, "UnrecognizedClientException"),
        ({"AWS_SESSION_TOKEN": "stray"}, "UnrecognizedClientException"),
    ],
)
async def test_credentials_that_do_not_hold_are_the_operators_matter(box, monkeypatch, change, code):
    """The simulator checks the signature of every call."""
    async with clients_of(box.environ() | change, monkeypatch) as opened:
        error = await refusal(ConnectClient(opened.connect).start_email_contact(request_for()))
    assert (error.failure, error.code) == (FailureClass.CONFIGURATION, code)


async def test_the_same_token_and_payload_are_the_same_contact(connect, box):
    """A repeat after a lost reply starts nothing new."""
    ids = {await connect.start_email_contact(request_for()) for _ in range(3)}
    assert len(ids) == len(box.contacts()) == 1


async def test_the_same_token_with_another_payload_is_a_conflict(connect, box):
    """A token stands for one payload."""
    await connect.start_email_contact(request_for())
    error = await refusal(connect.start_email_contact(request_for(Name="other")))
    assert error.failure is FailureClass.CONFLICT
    assert len(box.contacts()) == 1


async def test_another_token_is_another_contact(connect, box):
    """Two mails with the same words are two contacts."""
    await connect.start_email_contact(request_for(token="one"))
    await connect.start_email_contact(request_for(token="two"))
    assert len(box.contacts()) == 2


async def test_a_lost_reply_is_temporary_and_the_repeat_finds_the_contact(connect, box):
    """Connect did the work and the connection ended: we cannot know, so we ask again with the same token."""
    box.chaos(connect={"lose_reply": 1})
    error = await refusal(connect.start_email_contact(request_for()))
    assert (error.failure, error.code) == (FailureClass.TEMPORARY, "unreachable")
    box.chaos({})
    contact_id = await connect.start_email_contact(request_for())
    assert [contact["contact_id"] for contact in box.contacts()] == [contact_id]


async def test_a_service_that_hangs_is_given_up_in_time(clients, box):
    """An answer that comes too late is a time-out; its contact may exist, and the token tells."""
    box.chaos(connect={"latency_seconds": 5})
    error = await refusal(
        ConnectClient(clients.connect, timeout_seconds=0.1).start_email_contact(request_for())
    )
    assert (error.failure, error.code) == (FailureClass.TEMPORARY, "timeout")


async def test_a_service_that_is_away_is_temporary(box, monkeypatch):
    """Nobody listens at Connect's address."""
    with nobody() as url:
        async with clients_of(box.environ() | {"AWS_ENDPOINT_URL_CONNECT": url}, monkeypatch) as opened:
            error = await refusal(ConnectClient(opened.connect).start_email_contact(request_for()))
    assert (error.failure, error.code) == (FailureClass.TEMPORARY, "unreachable")


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        ("200 OK", b"{}", FailureClass.TEMPORARY),
        ("200 OK", b"<html>a proxy's page</html>", FailureClass.TEMPORARY),
        ("502 Bad Gateway", b"<html>a proxy's page</html>", FailureClass.TEMPORARY),
        ("418 Teapot", b'{"Message": "short and stout"}', FailureClass.TEMPORARY),
        ("400 Bad Request", b"<html>a proxy's page</html>", FailureClass.TEMPORARY),
        ("400 Bad Request", b'{"__type": "FancyNewException"}', FailureClass.TEMPORARY),
        ("404 Not Found", b"<html>a proxy's page</html>", FailureClass.CONFIGURATION),
        ("409 Conflict", b'{"Message": "what the table says of 409"}', FailureClass.TEMPORARY),
        ("409 Conflict", b"<html><title>Conflict</title></html>", FailureClass.TEMPORARY),
        ("409 Conflict", b"", FailureClass.TEMPORARY),
        ("409 Conflict", b'{"__type": "ResourceNotReadyException"}', FailureClass.TEMPORARY),
        ("413 Content Too Large", b"<html>a proxy's page</html>", FailureClass.PAYLOAD),
    ],
)
async def test_an_answer_that_nobody_documented_is_read_with_care(box, monkeypatch, status, body, failure):
    """Unknown answers are temporary: a contact id is the only yes."""

    async def serve(reader, writer, _number):
        head = await read_head(reader)
        await reader.readexactly(int(head["content-length"]))
        answer(writer, status, body)

    async with Peer(serve) as peer:
        environ = box.environ() | {"AWS_ENDPOINT_URL_CONNECT": peer.url}
        async with clients_of(environ, monkeypatch) as opened:
            error = await refusal(ConnectClient(opened.connect).start_email_contact(request_for()))
    assert error.failure is failure


FILES = [{"FileName": name} for name in ("a.pdf", "data.pdf", "Bericht (2).docx", "見積書.pdf")]


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("Value at 'attachments.2.member.fileName' failed to satisfy constraint", ("data.pdf",)),
        ("Attachments[0].S3Url is invalid; attachments[3] too", ("a.pdf", "見積書.pdf")),
        ("File type of data.pdf is not allowed", ("data.pdf",)),
        ("'Bericht (2).docx' and \"見積書.pdf\"", ("Bericht (2).docx", "見積書.pdf")),
        ("attachments.9.member is one of a.pdfs", ()),
        ("something else", ()),
    ],
)
async def test_attachments_are_named_by_position_or_name(message, named):
    """AWS counts members from one, botocore from zero, and people write names."""
    assert named_attachments(message, FILES) == named
