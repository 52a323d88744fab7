"""The sandbox's STS: AssumeRole and GetCallerIdentity, and the keys that it has given out.

Owns the sessions of roles: a role of any account may be assumed by the sandbox's own keys, until it is
refused on request. Every signature is checked as S3's and Connect's are. Never does I/O beyond its answers.
"""

from __future__ import annotations

import secrets
import urllib.parse
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from xml.sax.saxutils import escape

from aiohttp import web

from relay.sandbox.signature import Keys, SignatureError, Signed, read_credential, verify

#: Seconds of a session: what AssumeRole gives where nobody asks for others.
SESSION_SECONDS = 3_600
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class KeyRing:
    """The keys that open the sandbox: its own, and those of sessions of roles."""

    def __init__(self, own: Keys, now: Callable[[], datetime]) -> None:
        self.own = own
        self._now = now
        self._sessions: dict[str, tuple[Keys, datetime]] = {}

    def find(self, access_key: str) -> Keys:
        """The keys of an access key. For one that is none the sandbox's own, whose check then refuses it.

        Raises:
            SignatureError: the session has ended.
        """
        keys, ends_at = self._sessions.get(access_key, (self.own, None))
        if ends_at is not None and ends_at <= self._now():
            raise SignatureError("ExpiredToken", "The security token included in the request is expired")
        return keys

    def give(self, account: str, seconds: float) -> tuple[Keys, datetime]:
        """Make the keys of a new session. Returns them, and when they end."""
        keys = Keys(
            access_key=f"ASIA{secrets.token_hex(8).upper()}",
            secret_key=secrets.token_hex(20),
            region=self.own.region,
            token=secrets.token_urlsafe(48),
            account=account,
        )
        self._sessions[keys.access_key] = keys, self._now() + timedelta(seconds=seconds)
        return self._sessions[keys.access_key]

    def end_sessions(self) -> None:
        """End every session now, as an administrator who revokes them."""
        self._sessions = {name: (keys, self._now()) for name, (keys, _) in self._sessions.items()}


class StsService:
    """STS in every Region."""

    def __init__(self, ring: KeyRing, now: Callable[[], datetime]) -> None:
        self._ring = ring
        self._now = now
        #: The ARNs of roles that may not be assumed.
        self.refused: set[str] = set()
        #: The ARNs of the roles that were assumed, in order.
        self.assumed: list[str] = []
        self.session_seconds: float = SESSION_SECONDS

    def application(self) -> web.Application:
        """The service, ready to be served."""
        app = web.Application()
        app.router.add_post("/", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            access_key, region = read_credential(request.headers)
            keys = self._ring.find(access_key)
            signed = Signed(method="POST", url=f"http://{request.host}/", headers=request.headers, body=body)
            verify(signed, keys, service="sts", now=self._now(), region=region)
        except SignatureError as exc:
            return _error(exc.code, str(exc))
        fields = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        match fields.get("Action"):
            case "GetCallerIdentity":
                return _answer("GetCallerIdentity", f"<Account>{keys.account}</Account>")
            case "AssumeRole":
                return self._assume(fields.get("RoleArn", ""))
            case _:
                return _error("InvalidAction", "the action is none of this STS", status=400)

    def _assume(self, arn: str) -> web.Response:
        parts = arn.split(":")
        if len(parts) != 6 or arn in self.refused:
            return _error("AccessDenied", f"not authorized to perform: sts:AssumeRole on resource: {arn}")
        self.assumed.append(arn)
        keys, ends_at = self._ring.give(parts[4], self.session_seconds)
        return _answer(
            "AssumeRole",
            f"<Credentials><AccessKeyId>{keys.access_key}</AccessKeyId>"
            f"<SecretAccessKey>{keys.secret_key}</SecretAccessKey><SessionToken>{keys.token}</SessionToken>"
            f"<Expiration>{ends_at:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>",
        )


def _answer(action: str, result: str) -> web.Response:
    return _xml(
        f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{result}</{action}Result></{action}Response>'
    )


def _error(code: str, message: str, *, status: int = 403) -> web.Response:
    text = f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    return _xml(f"{text}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>", status=status)


def _xml(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type="text/xml", status=status)
