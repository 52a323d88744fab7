"""The page as `relay check` meets it: whether anybody can get in, and who else.

Owns these examinations. Its address is examined with all others (`relay.check.ports`).
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config
from relay.config.words import split_bind
from relay.logins.users import Users
from relay.networks import parse_address, parse_network

#: Addresses of a network of proxies from which it is told: no set of proxies is that large (a /16 of IPv4).
_MANY = 65_536


def examine_page(config: Config) -> Iterator[Finding]:
    """Examine who is let in at the page, and what of mails is shown there. Gives none where it is off."""
    page = config.web
    if not page.bind:
        return
    rights = ["words of mails" if page.content else "", "changes" if page.actions else ""]
    shows = (
        f"with {' and '.join(filter(None, rights))}" if any(rights) else "read-only, without words of mails"
    )
    if page.auth == "proxy":
        wide = [each for each in page.proxies if parse_network(each).num_addresses >= _MANY]
        for network in wide:
            yield warn(
                "page",
                f'web.proxies has "{network}": whoever sends from there is let in under any name; name the proxies alone',
            )
        if not wide:
            yield ok(
                "page", f"{shows}, for people whom {page.user_header} of {', '.join(page.proxies)} names"
            )
        return
    try:
        count = Users(page.users_file).count() if page.users_file is not None else 0
    except OSError:
        return  # told with the files
    if not count:
        yield fail(
            "page",
            f"web.users_file, {page.users_file}, names nobody; run relay passwd --file {page.users_file} NAME",
        )
        return
    who = "1 person" if count == 1 else f"{count} people"
    yield ok("page", f"{shows}, for {who} of {page.users_file}")
    if page.tls == "proxy" and not page.proxies and not _is_local(page.bind):
        yield warn(
            "page",
            "web.proxies is empty, so the proxy's address counts for everybody: one guesser puts all off; name the proxy",
        )


def _is_local(binds: tuple[str, ...]) -> bool:
    return all(parse_address(split_bind(bind)[0]).is_loopback for bind in binds)
