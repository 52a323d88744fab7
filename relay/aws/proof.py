"""Proof of success: the parts of an answer that show that a call has done its work.

Owns what counts as proof of a stored object, of a signed URL, of a contact and of a published alarm
(docs/flow.md, "a 200 without its proof"). A status of 200 alone proves only that somebody answered: filters,
captive portals and load balancers answer so, too. So do they that tell settings of an instance which none can
have. Never does I/O. An answer without its proof is a temporary failure.

An entity-tag is read by RFC 9110 §8.8.3, a presigned URL by AWS's Signature Version 4 for query strings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from relay.config.discovered import Discovered, read_extensions, read_size
from relay.errors import Blame, FailureClass, RemoteError

#: The code of an answer without its proof; it stands behind the service's name in reasons and logs.
UNPROVEN = "unproven"

#: An ETag: 32 hexadecimal digits, and the number of parts of an upload in several. Encrypted objects have
#: such ones, too.
_ETAG = re.compile(r'"[0-9a-fA-F]{32}(?:-[1-9][0-9]{0,4})?"')
#: A contact id: 1 to 256 characters by the service model, a UUID in all of AWS's examples; never markup,
#: blanks or a sentence.
_CONTACT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
#: The fields of a URL signed by version 4, each in the form that a server asks for.
_SIGNED = {
    "X-Amz-Algorithm": re.compile(r"AWS4-HMAC-SHA256"),
    "X-Amz-Credential": re.compile(r"[^/]+(?:/[^/]+){4}"),
    "X-Amz-Date": re.compile(r"\d{8}T\d{6}Z"),
    "X-Amz-Expires": re.compile(r"[1-9]\d{0,6}"),
    "X-Amz-SignedHeaders": re.compile(r"(?:[^;]+;)*host(?:;[^;]+)*"),
    "X-Amz-Signature": re.compile(r"[0-9a-f]{64}"),
}
#: Characters of a wrong answer that go into the log.
_SHOWN = 80


def check_put(answer: Mapping[str, Any], *, checksum: str, required: bool) -> bool:
    """Check the answer to an upload.

    Returns whether it proves that the file is stored; False when a HEAD must prove the rest.

    `checksum` is the SHA-256 of what was sent, in base64. `required` is for a server that is known to answer
    with it.

    Raises:
        RemoteError: the answer shows that nothing, or something else, was stored.
    """
    etag = answer.get("ETag")
    if not isinstance(etag, str) or not _ETAG.fullmatch(etag):
        raise unproven("s3", f"the upload was answered without an ETag ({_shown(etag)})")
    answered = answer.get("ChecksumSHA256")
    if answered is None and not required:
        return False
    if answered != checksum:
        raise unproven(
            "s3", f"the upload was answered with another SHA-256 than was sent ({_shown(answered)})"
        )
    return True


def check_head(answer: Mapping[str, Any], *, etag: str, checksum: str, size: int) -> None:
    """Check by the answer to a HEAD that the stored object is what was sent, where the upload's answer had no
    checksum.

    Raises:
        RemoteError: the length, the ETag or a checksum is not that of the upload.
    """
    if answer.get("ContentLength") != size or answer.get("ETag") != etag:
        raise unproven(
            "s3",
            f"{size} bytes were uploaded as {etag}, and a HEAD finds {_shown(answer.get('ContentLength'))} bytes "
            f"as {_shown(answer.get('ETag'))}",
        )
    if answer.get("ChecksumSHA256") not in (None, checksum):
        raise unproven("s3", "a HEAD finds another SHA-256 than was sent")


def check_url(url: str, *, endpoint: str, bucket: str, key: str, life_seconds: int) -> None:
    """Check a URL that was signed here, before Connect is given it: its place, its signature, its lifetime.

    Raises:
        RemoteError: the object could not be fetched by it.
    """
    try:
        parts, place = urlsplit(url), urlsplit(endpoint)
        fields = parse_qs(parts.query, max_num_fields=50)
    except ValueError as exc:
        raise unproven("s3", "a presigned URL cannot be read") from exc
    is_there = (parts.scheme, parts.netloc, unquote(parts.path)) in (
        (place.scheme, place.netloc, f"{place.path.rstrip('/')}/{bucket}/{key}"),
        (place.scheme, f"{bucket}.{place.netloc}", f"/{key}"),
    )
    if not is_there:
        raise unproven("s3", "a presigned URL leads to another place than the object's")
    for name, form in _SIGNED.items():
        if len(values := fields.get(name, [])) != 1 or not form.fullmatch(values[0]):
            raise unproven("s3", f"a presigned URL has no good {name}")
    if fields["X-Amz-Expires"] != [str(life_seconds)]:
        raise unproven("s3", f"a presigned URL does not live for {life_seconds} seconds")


def check_contact_id(answer: Mapping[str, Any]) -> str:
    """The id of the contact in Connect's answer.

    Raises:
        RemoteError: the answer has no id, or something that is none.
    """
    return _check_id("connect", answer.get("ContactId"), _CONTACT_ID, "ContactId")


def check_file_settings(answer: object, *, instance_id: str, scope: str) -> Discovered:
    """The settings in the answer of DescribeAttachedFilesConfiguration; AWS may leave each of them out.

    Raises:
        RemoteError: they are of another instance or scope, or such as no instance can have.
    """
    found = answer.get("AttachedFilesConfiguration") if isinstance(answer, Mapping) else None
    if not isinstance(found, Mapping):
        raise unproven("connect", "the answer has no AttachedFilesConfiguration")
    told = str(found.get("InstanceId")).rpartition("/")[2].lower()
    if (told, found.get("AttachmentScope")) != (instance_id.lower(), scope):
        raise unproven("connect", f"the answer is not about the {scope} of instance {instance_id}")
    types, size = found.get("ExtensionConfiguration"), found.get("MaximumSizeLimitInBytes")
    try:
        return Discovered(
            extensions=None if types is None else read_extensions(_list_extensions(types)),
            max_attachment_bytes=None if size is None else read_size(size),
        )
    except ValueError as exc:
        raise unproven("connect", str(exc)) from exc


def _list_extensions(configuration: object) -> object:
    """The extensions of an ExtensionConfiguration, whatever they are. Returns None where it has no list."""
    found = configuration.get("AllowedExtensions") if isinstance(configuration, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        return None
    return [each.get("Extension") for each in found]


def check_addresses(page: object) -> list[str]:
    """The addresses on a page of SearchEmailAddresses.

    Raises:
        RemoteError: the page has no list of addresses.
    """
    found = page.get("EmailAddresses") if isinstance(page, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise unproven("connect", "the answer has no list of addresses")
    addresses = [each.get("EmailAddress") for each in found]
    if not all(isinstance(each, str) and "@" in each for each in addresses):
        raise unproven("connect", "the answer has an address that is none")
    return [str(each) for each in addresses]


def check_message_id(answer: Mapping[str, Any]) -> str:
    """The id under which a topic has taken a message.

    Raises:
        RemoteError: the answer has no id, or something that is none.
    """
    return _check_id("sns", answer.get("MessageId"), _MESSAGE_ID, "MessageId")


def is_taken(status: int) -> bool:
    """Returns whether a webhook has taken a post: a 2xx is all the proof that there is (RFC 9110 §15.3)."""
    return 200 <= status <= 299


def unproven(service: str, detail: str) -> RemoteError:
    """The failure of an answer that claims success and does not prove it."""
    return RemoteError(
        service=service, failure=FailureClass.TEMPORARY, code=UNPROVEN, detail=detail, blame=Blame.SERVICE
    )


def _check_id(service: str, found: object, form: re.Pattern[str], name: str) -> str:
    if not isinstance(found, str) or not form.fullmatch(found):
        raise unproven(service, f"the answer has no {name} ({_shown(found)})")
    return found


def _shown(found: object) -> str:
    return repr(found)[:_SHOWN].encode("ascii", "backslashreplace").decode()
