"""The account of our own credentials, as STS tells it, or does not."""

from __future__ import annotations

from aiobotocore.credentials import AioCredentials
from aws_parts import Peer, answer, read_head

from relay.aws.credentials import ChainCredentials
from relay.aws.roles import OwnAccount


async def account_of(monkeypatch, *answers):
    """What is known after each question, a minute apart, of an STS with these answers; how often it was
    asked.
    """
    left, now = list(answers), 0.0

    async def serve(reader, writer, _):
        await read_head(reader)
        status, body = left.pop(0)
        answer(writer, status, body=body)

    async def find():
        return AioCredentials("AK", "SK")

    async with Peer(serve) as peer:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", peer.url)
        own = OwnAccount(ChainCredentials(find), "eu-central-1", clock=lambda: now)
        known = []
        for _ in range(len(answers) + 1):
            known += [await own.find(), await own.find()]
            now += 60.0
        return known, peer.connections


def told(account):
    """The answer to GetCallerIdentity."""
    text = f"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>{account}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    return "200 OK", text.encode()


async def test_an_account_that_is_not_told_is_unknown_and_asked_for_again(monkeypatch):
    """A refusal, a proxy's page and what is no account leave it unknown for a minute; once told it stays."""
    refusal = ("403 Forbidden", b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")
    page = ("200 OK", b"<html>please log in</html>")
    known, asked = await account_of(monkeypatch, refusal, page, told("none"), told("123456789012"))
    assert known == [None] * 6 + ["123456789012"] * 4
    assert asked == 4
