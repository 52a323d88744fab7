"""The doors of the page: who is let in, by what, and what no other page can send."""

from __future__ import annotations

import asyncio
import base64
import re
from contextlib import AsyncExitStack, asynccontextmanager
from unittest.mock import Mock

import pytest
from aiohttp import ClientSession, CookieJar, web
from aiohttp.test_utils import make_mocked_request
from argon2 import PasswordHasher
from test_forms import BODIES, TYPES

from relay.config.builtin import builtin_config
from relay.spool.opening import open_intake
from relay.web.home import Home, open_door
from relay.web.sessions import Sessions

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HTML = {"Accept": "text/html"}


@pytest.fixture
def place(tmp_path):
    """A spool with nothing in it, and a users file."""
    asyncio.run(open_intake(builtin_config(data_dir=str(tmp_path / "data"))).close())
    users = tmp_path / "users"
    users.write_text(f"alice:{HASHER.hash('good:token')}\n")
    return tmp_path


@asynccontextmanager
async def page(place, *, home=None, **keys):
    """A client without cookies of others, at the page with these keys of `[web]`."""
    if keys.get("auth") != "proxy":
        keys.setdefault("users_file", str(place / "users"))
    config = builtin_config(data_dir=str(place / "data"), web={"bind": "127.0.0.1:0", **keys})
    async with AsyncExitStack() as stack:
        mine = home or Home(clock=asyncio.get_running_loop().time)
        stack.callback(mine.close)
        runner = web.AppRunner(mine.build(config, stack), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield await stack.enter_async_context(ClientSession(url, cookie_jar=CookieJar(unsafe=True)))


def asked_by(name):
    """A request that a proxy sends for somebody."""
    transport = Mock(
        get_extra_info=lambda key, default=None: ("192.0.2.1", 1) if key == "peername" else default
    )
    return make_mocked_request("GET", "/", headers={"X-Forwarded-User": name}, transport=transport)


async def sign_in(client, token="good:token", *, name="alice", place="/", **headers):
    """Fill the form in as a browser does."""
    async with client.get("/sign-in", params={"next": place}) as answer:
        word = re.search(r'name="form_token" value="([^"]+)"', await answer.text())[1]
    fields = {"name": name, "token": token, "form_token": word, "next": place}
    async with client.post("/sign-in", data=fields, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers


async def test_form_lets_in_and_out(place):
    """A browser is led to the form and back to where it wanted to go; a sign-out ends the session."""
    async with page(place) as client:
        async with client.get("/?state=held", headers=HTML, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=/?state%3Dheld")
        async with client.get("/") as answer:  # a script's own request is not led to a form
            assert answer.status == 401
        status, headers = await sign_in(client, place="/?state=held")
        assert (status, headers["Location"]) == (303, "/?state=held")
        cookie = next(each for each in headers.getall("Set-Cookie") if each.startswith("relay="))
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
        async with client.get("/", headers=HTML) as answer:
            assert answer.status == 200
            text = await answer.text()
        assert "alice" in text
        word = re.search(r'action="/sign-out".*?name="form_token" value="([^"]+)"', text, re.DOTALL)[1]
        async with client.post("/sign-out", data={"form_token": word}, allow_redirects=False) as answer:
            assert answer.status == 303
        async with client.get("/") as answer:
            assert answer.status == 401


async def test_wrong_form_lets_nobody_in(place):
    """A wrong token, an unknown name, a form of another session and one from another site."""
    async with page(place) as client:
        assert (await sign_in(client, "bad"))[0] == 403
        assert (await sign_in(client, name="nobody"))[0] == 403
        assert (await sign_in(client, **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
        assert (await sign_in(client, Origin="http://evil.example"))[0] == 403
        fields = {"name": "alice", "token": "good:token", "form_token": "guessed"}
        async with client.post("/sign-in", data=fields) as answer:
            assert answer.status == 403
        async with client.get("/") as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    "lead",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\evil", "javascript:alert(1)", "/\n/x"],
)
async def test_form_leads_to_no_other_place(place, lead):
    """After signing in a person stays on this page, wherever a link wanted to lead."""
    async with page(place) as client:
        status, headers = await sign_in(client, place=lead)
        assert (status, headers["Location"]) == (303, "/")


async def test_forms_in_two_tabs_are_both_taken(place):
    """The form of the first tab still signs in after a second one was opened."""
    async with page(place) as client:
        words = []
        for _ in range(2):
            async with client.get("/sign-in") as answer:
                words.append(re.search(r'name="form_token" value="([^"]+)"', await answer.text())[1])
        fields = {"name": "alice", "token": "good:token", "form_token": words[0]}
        async with client.post("/sign-in", data=fields, allow_redirects=False) as answer:
            assert answer.status == 303


async def test_guesses_are_put_off(place):
    """After `limits.failed_logins` wrong tokens the form says to wait, and Bearer is answered 429."""
    async with page(place) as client:
        for _ in range(10):
            async with client.get("/", headers={"Authorization": "Bearer alice:bad"}) as answer:
                assert answer.status == 401
        async with client.get("/", headers={"Authorization": "Bearer alice:good:token"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "600")
        assert (await sign_in(client))[0] == 429


async def test_bearer_is_for_programs(place):
    """A program shows name and token in one field; a token may hold colons."""
    async with page(place) as client:
        for value, status in (("alice:good:token", 200), ("alice:good", 401), ("alice", 401), ("", 401)):
            async with client.get("/", headers={"Authorization": f"Bearer {value}"}) as answer:
                assert answer.status == status, value
                assert status == 200 or answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_basic(place):
    """HTTP's Basic asks for a name and token, takes the right ones, and no other scheme or octets."""

    def basic(text):
        return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}

    async with page(place, auth="basic") as client:
        for headers, status in (
            ({}, 401),
            (basic("alice:good:token"), 200),
            (basic("alice:bad"), 401),
            (basic("alice"), 401),
            ({"Authorization": "Basic !!!"}, 401),
            ({"Authorization": "Bearer alice:good:token"}, 401),
        ):
            async with client.get("/", headers={**HTML, **headers}) as answer:
                assert answer.status == status, headers
                assert (
                    status == 200
                    or answer.headers["WWW-Authenticate"] == 'Basic realm="relay", charset="UTF-8"'
                )
        async with client.get("/sign-in", headers=HTML) as answer:
            assert answer.status == 401


async def test_proxy_names_the_person(place):
    """The name of a proxy is believed, one name alone, and nothing is known of who comes without."""
    async with page(place, auth="proxy", proxies=["127.0.0.1/32"]) as client:
        for headers, status in (
            ({}, 403),
            ({"X-Forwarded-User": "Alice"}, 200),
            ({"X-Forwarded-User": " "}, 403),
            ({"X-Forwarded-User": "x" * 300}, 403),
            ([("X-Forwarded-User", "alice"), ("X-Forwarded-User", "root")], 403),
        ):
            async with client.get("/", headers=headers) as answer:
                assert answer.status == status, headers
                assert status == 403 or "Alice" in await answer.text()


async def test_proxy_elsewhere_is_nobody(place):
    """A peer that is no proxy of ours is refused, whatever name it tells."""
    async with (
        page(place, auth="proxy", proxies=["192.0.2.0/24"]) as client,
        client.get("/", headers={"X-Forwarded-User": "alice"}) as answer,
    ):
        assert answer.status == 403


async def test_cookie_behind_tls(place):
    """Where a proxy speaks TLS, the cookie is sent under TLS only, and is this very host's."""
    async with page(place, tls="proxy") as client, client.get("/sign-in") as answer:
        (cookie,) = answer.headers.getall("Set-Cookie")
    assert cookie.startswith("__Host-relay-form=")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


async def test_session_outlives_a_reload_and_not_its_login(place):
    """Another configuration leaves people signed in; a name that is removed is out at once."""
    home = Home(clock=asyncio.get_running_loop().time)
    async with page(place, home=home) as client:
        await sign_in(client)
        word = client.cookie_jar.filter_cookies(client._base_url)["relay"].value
    async with page(place, home=home, content=True) as client:
        async with client.get("/", headers={"Cookie": f"relay={word}"}) as answer:
            assert answer.status == 200
        (place / "users").write_text(f"bob:{HASHER.hash('good:token')}\n")
        async with client.get("/", headers={"Cookie": f"relay={word}"}) as answer:
            assert answer.status == 401


async def test_form_of_a_person_outlives_a_reload():
    """A form that was open when the configuration was read again can still be sent, by its person alone."""
    config = builtin_config(web={"bind": "127.0.0.1:0", "auth": "proxy", "proxies": ["192.0.2.0/24"]}).web
    sessions = Sessions(clock=asyncio.get_running_loop().time)
    before, after = (open_door(config, None, sessions, key=b"the same") for _ in range(2))
    alice, bob = (asked_by(name) for name in ("alice", "bob"))
    word = (await before.admit(alice)).form_token
    assert after.is_own_form(await after.admit(alice), word)
    assert not after.is_own_form(await after.admit(bob), word)
    assert not after.is_own_form(await after.admit(alice), "")
    other = open_door(config, None, sessions, key=b"another")
    assert not other.is_own_form(await other.admit(alice), word)


async def test_users_file_that_cannot_be_read(place):
    """Nobody is let in, and the sentence says why, where the users file is away."""
    async with (
        page(place, users_file=str(place / "gone")) as client,
        client.get("/", headers={"Authorization": "Bearer alice:good:token"}) as answer,
    ):
        assert answer.status == 503
        assert "users file" in await answer.text()


@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")  # that is the subject
async def test_a_wrong_form_to_sign_in_or_out_is_answered(place):
    """Forms that are none get 400 or 403, or lead out; a word of any characters is a wrong one."""
    async with page(place) as client:
        await sign_in(client)
        for path in ("/sign-in", "/sign-out"):
            for body in BODIES:
                for content_type in TYPES:
                    headers = {"Content-Type": content_type}
                    async with client.post(path, data=body, headers=headers, allow_redirects=False) as answer:
                        assert answer.status in (303, 400, 403), ascii((path, body, content_type))
        for cookie in ("\xe9", "\u2026"):
            headers = {"Cookie": f"relay-form={cookie}"}
            form = {"form_token": "\xe9\u2026", "name": "alice", "token": "x"}
            async with client.post("/sign-out", data=form, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 303
            async with client.post("/sign-in", data=form, headers=headers) as answer:
                assert answer.status == 403


#: Fields and bodies that no browser sends.
OCTETS = [
    (b"Content-Type: application/x-www-form-urlencoded", b"name=\xff&form_token=\xfe%ff"),
    (b"Content-Type: application/x-www-form-urlencoded; charset=nonsense", b"name=a"),
    (b"Content-Type: application/x-www-form-urlencoded; charset=utf-16", b"name"),
    (b"Content-Type: multipart/form-data; boundary=x", b"--x\r\n\xff\r\n\r\n"),
    (b"Content-Type: multipart/form-data", b"no boundary"),
    (b"Content-Type: application/json", b"{}"),
    (b"Cookie: relay-form=\xff\xfe; relay=\xff", b""),
    (b"Cookie: =;;,\x80", b""),
    (b"Authorization: Bearer \xff:\xfe", b""),
    (b"Origin: \xff", b""),
    (b"Sec-Fetch-Site: \xff", b""),
    (b"X-Forwarded-For: \xff", b""),
]


async def test_octets_of_anybody_are_answered(place):
    """Whatever is sent to the door is refused in a sentence: no fault of ours, and nobody is let in."""
    async with page(place) as client:
        for headers, body in OCTETS:
            for request in (b"POST /sign-in", b"POST /sign-out", b"GET /", b"GET /sign-in?next=%ff%00"):
                reader, writer = await asyncio.open_connection("127.0.0.1", client._base_url.port)
                head = b"%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s\r\n" % (request, headers)
                writer.write(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
                status = int((await reader.read()).split(b" ", 2)[1])
                writer.close()
                assert status in (200, 303, 400, 401, 403, 413), (request, headers, status)
                assert status != 200 or request.startswith(b"GET /sign-in")
