"""Signatures hold for what was signed, and for nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from relay.sandbox.signature import Keys, SignatureError, Signed, verify

KEYS = Keys(access_key="AK", secret_key="SK", region="eu-central-1")
TOKENED = Keys(access_key="AK", secret_key="SK", region="eu-central-1", token="tok/+=")
HOST = {"Host": "127.0.0.1:9000"}
KEY = "/bucket/mail/01/" + quote("å b+%.txt")


def presigned(keys=KEYS, *, expires=60, path=KEY):
    """A URL as any SDK signs it now."""
    request = AWSRequest("GET", f"http://127.0.0.1:9000{path}")
    S3SigV4QueryAuth(
        Credentials(keys.access_key, keys.secret_key, keys.token), "s3", keys.region, expires=expires
    ).add_auth(request)
    return request.prepare().url


def signed(keys=KEYS, *, body=b'{"a": 1}', service="connect"):
    """A request with a signature in its header, made now."""
    request = AWSRequest("PUT", "http://127.0.0.1:9000/contact/email?b=2&a=1", data=body, headers=dict(HOST))
    SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.token), service, keys.region).add_auth(
        request
    )
    return Signed(method="PUT", url=request.url, headers=dict(request.headers.items()), body=body)


def wrong(request, keys=KEYS, *, service="s3", after=timedelta(0)):
    """The code of the refusal."""
    with pytest.raises(SignatureError) as caught:
        verify(request, keys, service=service, now=datetime.now(UTC) + after)
    return caught.value.code


def get(url, **changes):
    return Signed(**({"method": "GET", "url": url, "headers": HOST} | changes))


@pytest.mark.parametrize("keys", [KEYS, TOKENED])
def test_a_presigned_url_holds_until_it_expires(keys):
    """To the second: one before its end it holds, one after it does not."""
    url = presigned(keys)
    verify(get(url), keys, service="s3", now=datetime.now(UTC))
    verify(get(url), keys, service="s3", now=datetime.now(UTC) + timedelta(seconds=58))
    assert wrong(get(url), keys, after=timedelta(seconds=62)) == "AccessDenied"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda url: get(url[:-3] + "000"), "SignatureDoesNotMatch"),
        (lambda url: get(url, method="PUT"), "SignatureDoesNotMatch"),
        (lambda url: get(url, headers={"Host": "other"}), "SignatureDoesNotMatch"),
        (lambda url: get(url.replace("/bucket/", "/other/")), "SignatureDoesNotMatch"),
        (lambda url: get(url.replace("Expires=60", "Expires=600")), "SignatureDoesNotMatch"),
        (lambda url: get(url.replace("Expires=60", "Expires=604801")), "AuthorizationQueryParametersError"),
        (lambda url: get(url.replace("Expires=60", "Expires=soon")), "AuthorizationQueryParametersError"),
        (lambda url: get(url.replace("HMAC-SHA256", "HMAC-MD5")), "AuthorizationQueryParametersError"),
        (lambda url: get(url.replace("Credential=AK", "Credential=OTHER")), "InvalidAccessKeyId"),
        (lambda url: get(url.replace("eu-central-1", "us-east-1")), "AuthorizationHeaderMalformed"),
        (lambda url: get(url + "&X-Amz-Security-Token=x"), "InvalidToken"),
        (lambda url: get(url.replace("X-Amz-Date=2", "X-Amz-Date=x")), "AccessDenied"),
        (lambda url: get(url.partition("?")[0]), "AccessDenied"),
    ],
)
def test_a_presigned_url_that_was_touched_does_not_hold(change, code):
    """Whatever of it is changed, S3 says so, each in its word."""
    assert wrong(change(presigned())) == code


def test_a_presigned_url_of_other_keys_does_not_hold():
    """The same access key with another secret is a forgery."""
    forged = presigned(Keys(access_key="AK", secret_key="guessed", region="eu-central-1"))
    assert wrong(get(forged)) == "SignatureDoesNotMatch"


def test_a_url_from_the_future_does_not_hold():
    """A clock that is an hour ahead signs what nobody takes."""
    assert wrong(get(presigned(expires=9_999)), after=timedelta(hours=-1)) == "AccessDenied"


@pytest.mark.parametrize("keys", [KEYS, TOKENED])
def test_a_signed_request_holds(keys):
    """The signature in the header, over the body too."""
    verify(signed(keys), keys, service="connect", now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"body": b'{"a": 2}'}, "SignatureDoesNotMatch"),
        ({"method": "POST"}, "SignatureDoesNotMatch"),
        ({"url": "http://127.0.0.1:9000/contact/chat"}, "SignatureDoesNotMatch"),
        ({"headers": {}}, "AccessDenied"),
        ({"headers": {"Authorization": "Bearer abc"}}, "AccessDenied"),
    ],
)
def test_a_signed_request_that_was_touched_does_not_hold(changes, code):
    """Method, path and body are bound by the signature."""
    request = signed()
    facts = {"method": request.method, "url": request.url, "headers": request.headers, "body": request.body}
    assert wrong(Signed(**(facts | changes)), service="connect") == code


def test_a_signed_request_has_a_quarter_of_an_hour():
    """A clock may differ by fifteen minutes, either way."""
    request = signed()
    for minutes in (-14, 14):
        verify(request, KEYS, service="connect", now=datetime.now(UTC) + timedelta(minutes=minutes))
    for minutes in (-16, 16):
        assert wrong(request, service="connect", after=timedelta(minutes=minutes)) == "RequestTimeTooSkewed"


def test_a_request_must_be_signed_for_this_service_with_its_host():
    """A signature for S3 is none for Connect, and one that leaves the host open could be sent elsewhere."""
    assert wrong(signed(service="s3"), service="connect") == "AuthorizationHeaderMalformed"
    request = signed()
    headers = dict(request.headers)
    headers["Authorization"] = headers["Authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    without = Signed(method="PUT", url=request.url, headers=headers, body=request.body)
    assert wrong(without, service="connect") == "SignatureDoesNotMatch"


_NAMES = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")


@given(values=st.dictionaries(st.sampled_from(_NAMES), st.text(max_size=40)), header=st.text(max_size=80))
def test_whatever_comes_is_refused_in_words(values, header):
    """Garbage in the query or in the header is a refusal, never another exception."""
    query = "&".join(f"X-Amz-{name}={quote(value)}" for name, value in values.items())
    request = Signed(
        method="GET",
        url=f"http://h/{quote(header)}?{query}",
        headers={"Authorization": header, "x-amz-date": header},
    )
    with pytest.raises(SignatureError):
        verify(request, KEYS, service="s3", now=datetime.now(UTC))
