"""The page in a real browser, in both of its homes: each thing that it promises, tried by hand and eye."""

from __future__ import annotations

import re
from email.message import EmailMessage
from itertools import count
from pathlib import Path

import pytest
from harness import build_mail, until
from web.browser.conftest import opened

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
_NUMBER = count(1)
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fccfc0f01f000501"
    "01025f5d36a80000000049454e44ae426082"
)


def unique(word: str) -> str:
    """A subject that no other mail has."""
    return f"{word}{next(_NUMBER)} in the browser"


def wait_for(page, expression: str, *, arg: object = None) -> None:
    """Wait until an expression is true in the page. Playwright's `wait_for_function` gives its words to
    `eval` in the page, whose policy forbids that, unless they are true at the first look.
    """
    from playwright.sync_api import Error

    def holds() -> bool:
        try:
            return bool(page.evaluate(expression, arg))
        except Error:  # the page is on its way, and what is looked at is not there yet
            return False

    until(holds)


def html_mail(subject: str, html: str, **more: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = more.pop("author", "Ann <ann@customer.example>")
    mail["To"], mail["Subject"] = "support@example.com", subject
    for name, value in more.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("The text beside it.\n")
    mail.add_alternative(html, subtype="html")
    return mail


def test_strip_leads_to_what_is_held(page, home):
    """Each number of the strip has its reason, and leads to the mails: a held one is somewhere."""
    subject = unique("Held")
    mail = build_mail(subject)
    mail["Auto-Submitted"] = "auto-replied"
    home.send(mail)

    def counted():
        page.goto(home.url)
        return int(page.locator("[data-figure=held] b").first.inner_text()) >= 1

    until(counted, seconds=90)
    assert "class.auto-reply" in page.locator("[data-figure=held]").inner_text()
    for name in ("received", "waiting", "dead", "done", "refused", "oldest", "pace"):
        assert page.locator(f"[data-figure={name}]").count() == 1
    page.locator("[data-figure=held] > a").click()
    page.wait_for_selector(f".row.held:has-text('{subject}')")
    page.locator("[data-figure=held] summary").click()
    page.locator("[data-figure=held] li a").first.click()
    page.wait_for_selector(f".row.held:has-text('{subject}')")


def test_list_is_live_and_is_searched(page, home):
    """A mail that comes is in the list without a reload; it is found by its words, sender and state."""
    page.goto(home.url)
    page.evaluate("window.kept = true")
    subject = unique("Live")
    home.send(build_mail(subject), sender="bob@live.example")
    page.wait_for_selector(f".row:has-text('{subject}')")
    page.wait_for_selector(f".row.done:has-text('{subject}')")
    assert page.evaluate("window.kept"), "no reload"
    for words in (subject.split()[0], "bob@live.example", subject.split()[0].upper()):
        page.get_by_label("Search mails").fill(words)
        page.get_by_label("Search mails").press("Enter")
        page.wait_for_selector(f".row:has-text('{subject}')")
    page.get_by_label("Search mails").fill("nothing-is-like-this")
    page.get_by_label("Search mails").press("Enter")
    page.wait_for_selector("text=No mail is like that.")
    page.goto(f"{home.url}/?q={subject.split()[0]}&state=held")
    assert page.locator(".row").count() == 0
    page.goto(f"{home.url}/?q={subject.split()[0]}&state=done&class=human")
    assert page.locator(".row").count() == 1


def test_list_goes_on(page, home):
    """All mail can be reached from the list, past the first hundred."""
    word = unique("Many").split()[0]
    home.send(*(build_mail(f"{word} {number}") for number in range(115)))
    page.goto(f"{home.url}/?q={word}")

    def all_there():
        page.mouse.wheel(0, 100_000)
        page.evaluate("document.querySelector('a[rel=next]')?.scrollIntoView()")
        return page.locator(".row").count() >= 115

    until(all_there, seconds=120)


def test_mail_as_the_agent_sees_it(page, home, open_mail, elsewhere, tmp_path):
    """HTML in a frame whose links open in a new tab; text, headers, parts, original, files, timeline."""
    subject = unique("Whole")
    mail = html_mail(
        subject, f'<p>Hello <b>bold</b> <a href="{elsewhere.url}/shop">the shop</a></p><img src="cid:pic@x">'
    )
    mail.get_payload()[1].add_related(PICTURE, "image", "png", cid="<pic@x>")
    mail.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="data.csv")
    mail.add_attachment(b"MZ-no-program", maintype="application", subtype="x-msdownload", filename="tool.exe")
    home.send(mail)
    open_mail(subject)
    frame = page.frame_locator("iframe.body")
    assert frame.locator("b").inner_text() == "bold"
    assert frame.locator("img").evaluate("image => image.naturalWidth") == 1
    context = page.context
    with context.expect_page() as popup:
        frame.get_by_text("the shop").click()
    popup.value.wait_for_load_state()
    assert popup.value.title() == "Elsewhere"
    assert popup.value.evaluate("window.opener") is None
    popup.value.close()
    assert elsewhere.asked[0] == "/shop"
    for side, words in (
        ("Text", "The text beside it."),
        ("Headers", subject),
        ("Parts", "multipart/mixed"),
        ("Request", "StartEmailContact|RawMessage|Subject"),
    ):
        page.get_by_role("navigation", name="Sides of the mail").get_by_role(
            "link", name=re.compile(side)
        ).click()
        wait_for(
            page, "pattern => new RegExp(pattern).test(document.getElementById('side').innerText)", arg=words
        )
    for title in ("Timeline", "Envelope and peer", "Adapted for Connect"):
        assert page.get_by_role("heading", name=title).count() == 1
    assert "tool.exe" in page.locator(".files").inner_text()
    with page.expect_download() as saved:
        page.locator("#original").click()
    saved.value.save_as(tmp_path / "saved.eml")
    assert subject.encode() in (tmp_path / "saved.eml").read_bytes()
    with page.expect_download() as saved:
        page.locator(".files a[download]", has_text="data.csv").click()
    saved.value.save_as(tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_bytes().replace(b"\r\n", b"\n") == b"a,b\n1,2\n"


def test_thread_and_related(page, home, open_mail):
    """A reply names the mail that it answers."""
    first, second = unique("Asked"), unique("Answered")
    mail = build_mail(first)
    del mail["Message-ID"]
    mail["Message-ID"] = f"<{first.split()[0]}@customer.example>"
    home.send(mail)
    open_mail(first)
    reply = build_mail(second)
    reply["In-Reply-To"] = f"<{first.split()[0]}@customer.example>"
    home.send(reply)
    open_mail(second)
    page.get_by_role("heading", name="Related").wait_for()
    page.locator("section[aria-labelledby=related-title] a", has_text=first).click()
    page.wait_for_selector(f"#mail h1:has-text('{first}')")


def test_changes(page, home):
    """A held mail is released by the page, for a reason, and becomes a contact; a drop asks first."""
    for change in ("Release", "Drop"):
        subject = unique(change)
        mail = build_mail(subject)
        mail["Auto-Submitted"] = "auto-replied"
        home.send(mail)

        def held(subject=subject):
            page.goto(f"{home.url}/?q={subject.split()[0]}&state=held")
            return page.locator(".row").count() == 1

        until(held, seconds=90)
        page.locator(".row a").first.click()
        page.wait_for_selector(f"#mail h1:has-text('{subject}')")
        if change == "Release":
            page.locator("#mail form.changes").first.get_by_label("Reason").fill("seen by Alice")
            page.locator("#mail").get_by_role("button", name="Release").click()
            until(lambda subject=subject: _states(page, home, subject) == ["done"], seconds=90)
        else:
            page.locator("#mail").get_by_text("Drop…").click()
            page.locator("#mail details.drop").get_by_role("checkbox").check()
            page.locator("#mail details.drop").get_by_label("Reason").fill("a robot")
            page.locator("#mail details.drop").get_by_role("button", name="Drop", exact=True).click()
            page.get_by_role("status").filter(has_text="ropped").wait_for()
            until(lambda subject=subject: _states(page, home, subject) == [], seconds=90)


def _states(page, home, subject):
    page.goto(f"{home.url}/?q={subject.split()[0]}")
    return [
        name
        for row in page.locator(".row").all()
        for name in row.get_attribute("class").split()
        if name != "row"
    ]


def test_keys(page, home):
    """Keys: j and k go through the list, / searches, ? tells the keys, o opens, e saves the original."""
    subject = unique("Keys")
    home.send(build_mail(subject))
    home.send(build_mail(subject + " again"))
    until(lambda: _states(page, home, subject) == ["done", "done"], seconds=90)
    page.keyboard.press("j")
    page.wait_for_selector("#mail[data-reference]")
    first = page.locator("#mail").get_attribute("data-reference")
    page.keyboard.press("j")
    wait_for(page, "first => document.getElementById('mail').dataset.reference !== first", arg=first)
    page.keyboard.press("k")
    wait_for(page, "first => document.getElementById('mail').dataset.reference === first", arg=first)
    assert page.locator("a[aria-current=true]").count() == 1
    page.keyboard.press("o")
    wait_for(page, "document.activeElement.id === 'mail'")
    with page.expect_download():
        page.keyboard.press("e")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("jk?")
    assert page.get_by_label("Search mails").input_value().endswith("jk?")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_in_light_and_dark(chromium, home, scheme):
    """400 pixels wide nothing is cut off, in both schemes, and with names that run from right to left."""
    subject = unique("Narrow")
    mail = build_mail(subject + " " + "long" * 60)
    del mail["From"]
    mail["From"] = '"\u202eשלום عليكم" <rtl@customer.example>'
    home.send(mail)
    with opened(
        chromium, home, viewport={"width": 400, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    ) as page:
        until(lambda: _states(page, home, subject) == ["done"], seconds=90)
        fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(fits)
        page.locator(".row a").first.click()
        page.wait_for_selector(f"#mail h1:has-text('{subject.split()[0]}')")
        assert page.evaluate(fits)
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, re.findall(r"\d+", back)[:3])) > 3 * 128
        assert light == (scheme == "light"), back
        moving = "[...document.querySelectorAll('*')].some(e => getComputedStyle(e).animationName !== 'none' && parseFloat(getComputedStyle(e).animationDuration) > 0.01)"
        assert not page.evaluate(moving)
        assert page.locator("#mail .who bdi").count() >= 1
        assert page.locator("[aria-live]").count() >= 1


HOSTILE = """<html><head><meta http-equiv="refresh" content="0;url={url}/refresh"><base href="{url}/base/">
<link rel="stylesheet" href="{url}/style.css"><link rel="dns-prefetch" href="//prefetch.example"><link rel="preload" href="{url}/preload" as="image">
<script>top.pwned = 1; parent.location = "{url}/script"</script>
<style>@import url({url}/import.css); @font-face {{ font-family: x; src: url({url}/font) }} body {{ background: url({url}/background); position: fixed; inset: 0; z-index: 99999 }} </style>
</head><body background="{url}/body" onload="top.pwned = 2"><h1 style="position:fixed;top:0;left:0;width:9999px;height:9999px">covered</h1>
<img src="{url}/picture" srcset="{url}/srcset 2x" onerror="top.pwned = 3"><img src=x onerror="top.pwned=4">
<svg onload="top.pwned=5"><script>top.pwned=6</script><image href="{url}/svg"/><foreignObject><iframe srcdoc="<script>top.pwned=7</script>"></iframe></foreignObject></svg>
<iframe src="{url}/frame"></iframe><object data="{url}/object"></object><embed src="{url}/embed"><video src="{url}/video" poster="{url}/poster" autoplay></video>
<form action="{url}/form" method="post"><input name="password"><button id="send">Send</button></form>
<a href="javascript:top.pwned=8">script</a><a id="data" href="data:text/html,<script>top.pwned=9</script>">data</a>
<div style="background:u\\72l({url}/escaped);behavior:url({url}/htc);-moz-binding:url({url}/xbl)">css</div>
</style></textarea></title></iframe></article></main></body></html><script>top.pwned=10</script><p>The end of it</p>"""


def test_hostile_mail_can_do_nothing(page, home, open_mail, elsewhere):
    """Script, remote pictures, style sheets, refreshes, forms, frames and SVG run nothing, fetch nothing and
    break nothing.
    """
    subject = unique("Hostile")
    home.send(
        html_mail(subject, HOSTILE.replace("{url}", elsewhere.url).replace("{{", "{").replace("}}", "}"))
    )
    open_mail(subject)
    frame = page.frame_locator("iframe.body")
    frame.get_by_text("The end of it").wait_for()
    assert page.evaluate("window.pwned") is None
    assert page.url.startswith(f"{home.url}/")
    assert frame.locator("script, form, iframe, object, embed, svg, link, video").count() == 0
    assert frame.get_by_text("script", exact=True).get_attribute("href") is None
    assert frame.get_by_text("data", exact=True).get_attribute("href") is None
    assert elsewhere.asked == []
    box = page.locator("iframe.body").bounding_box()
    top = page.evaluate(
        "([x, y]) => document.elementFromPoint(x, y)?.closest('header') !== null", [box["x"] + 5, 5]
    )
    assert top, "the mail does not cover the page"


def test_five_megabytes_of_html(page, home, open_mail):
    """HTML of five megabytes is cut, and says so; the page goes on."""
    subject = unique("Large")
    rows = "".join(f"<tr><td>{number}</td><td>{'x' * 40}</td></tr>" for number in range(70_000))
    home.send(html_mail(subject, f"<table>{rows}</table>"))
    open_mail(subject)
    page.get_by_text("This HTML is too large to be shown whole").wait_for()
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation(chromium, home, scheme):
    """The checks of axe find nothing serious on any page, in both schemes."""
    from axe_playwright_python.sync_playwright import Axe

    subject = unique("Axe")
    mail = html_mail(subject, "<p>Hello</p>")
    mail.add_attachment(b"x", maintype="application", subtype="pdf", filename="a.pdf")
    home.send(mail)
    with opened(chromium, home, color_scheme=scheme) as page:
        until(lambda: _states(page, home, subject) == ["done"], seconds=90)
        mail_path = page.locator(".row a").first.get_attribute("href").partition("?")[0]
        sides = [f"{mail_path}?side={side}" for side in ("message", "text", "headers", "parts", "request")]
        extra = ["/try", "/sessions", "/faults"] if home.name == "sandbox" else []
        for path in ["/", "/?state=held", "/?q=nothing-is-like-this", *sides, *extra]:
            page.goto(f"{home.url}{path}")
            found = Axe().run(page)
            serious = [
                f"{path}: {each['id']}: {each['nodes'][0]['html'][:200]}"
                for each in found.response["violations"]
                if each["impact"] in ("serious", "critical")
            ]
            assert serious == []
    if home.token:
        with opened(chromium, home, signed=False, color_scheme=scheme) as page:
            page.goto(home.url)
            assert [
                each["id"]
                for each in Axe().run(page).response["violations"]
                if each["impact"] in ("serious", "critical")
            ] == []


def test_try(page, home, tmp_path):
    """In the sandbox a mail is written on the page, an .eml is dropped on it, and recipients make things
    happen; the dialog is shown.
    """
    if home.name != "sandbox":
        assert page.request.get(f"{home.url}/try").status == 404
        return
    subject = unique("Tried")
    page.goto(f"{home.url}/try")
    page.get_by_label("From", exact=True).fill("you@example.org")
    page.get_by_label("To", exact=True).fill("support@example.com")
    page.get_by_label("Subject", exact=True).fill(subject)
    page.locator("textarea[name=body]").fill("Where is it?")
    page.get_by_role("button", name="Send by SMTP").click()
    page.get_by_text("Accepted: 250").wait_for()
    page.get_by_role("link", name="Transcript").click()
    page.wait_for_selector("text=/MAIL FROM/i")
    assert "Where is it?" not in page.inner_text("main")
    until(lambda: _states(page, home, subject) == ["done"], seconds=90)

    dropped = unique("Dropped")
    path = tmp_path / "mail.eml"
    path.write_bytes(build_mail(dropped).as_bytes())
    page.goto(f"{home.url}/try")
    page.get_by_label("From", exact=True).fill("you@example.org")
    page.get_by_label("To", exact=True).fill("support@example.com")
    page.locator("#files").set_input_files(path)
    page.get_by_role("button", name="Send by SMTP").click()
    page.get_by_text("Accepted: 250").wait_for()
    until(lambda: _states(page, home, dropped) == ["done"], seconds=90)

    dead = unique("Dead")
    home.send(build_mail(dead), recipient="support+dead@example.com")
    until(lambda: _states(page, home, dead) == ["dead"], seconds=90)
    page.goto(f"{home.url}/faults")
    page.get_by_label("connect.throttle").first.evaluate(
        "input => { input.value = '0.5'; input.dispatchEvent(new Event('input')) }"
    )
    page.get_by_role("button", name="Set").click()
    page.wait_for_load_state()
    assert page.get_by_label("connect.throttle").first.input_value() == "0.5"
    page.get_by_role("button", name="End all").click()
    page.wait_for_load_state()
    assert page.get_by_label("connect.throttle").first.input_value() == "0"


def test_refused_without_signing_in(chromium, home):
    """Over the real queue nobody who is not signed in sees a mail."""
    with opened(chromium, home, signed=False) as page:
        page.goto(home.url)
        assert (page.locator("#strip").count() == 0) == bool(home.token)


def test_pictures_of_the_page_are_drawn(page, home, open_mail, tmp_path: Path):
    """A picture among the files is drawn small, an SVG is not."""
    subject = unique("Pictures")
    mail = build_mail(subject)
    mail.make_mixed()
    mail.add_attachment(PICTURE, maintype="image", subtype="png", filename="a.png")
    mail.add_attachment(
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>top.pwned=1</script></svg>",
        maintype="image",
        subtype="svg+xml",
        filename="b.svg",
    )
    home.send(mail)
    open_mail(subject)
    wait_for(
        page,
        "[...document.querySelectorAll('.files img')].filter(image => image.naturalWidth > 0).length === 1",
    )
    assert page.evaluate("window.pwned") is None
