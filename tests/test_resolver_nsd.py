"""Tests of `relay.resolver` with other people's DNS servers: NSD with a zone, and Unbound that resolves by
it.
"""

from __future__ import annotations

import ipaddress

import pytest
from harness import free_port
from nsd import nsd, running

from relay.auth.answers import RecordType, Status
from relay.auth.spf import check_mail_from
from relay.resolver import DnsResolver

ZONE = """$ORIGIN relay.example.
$TTL 300
@ SOA ns root 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
@ MX 10 mail
@ TXT "v=spf1 mx include:_spf.relay.example" " -all"
mail A 192.0.2.9
mail AAAA 2001:db8::9
www CNAME alias
alias CNAME mail
out CNAME mail.elsewhere.example.
_spf TXT "v=spf1 ip4:198.51.100.0/24 ~all"
there TYPE65280 \\# 0
"""
LONG = "".join(f'many TXT "{"x" * 200}-{n}"\n' for n in range(60))
ELSEWHERE = """$ORIGIN elsewhere.example.
$TTL 300
@ SOA ns.relay.example. root 1 3600 600 86400 60
@ NS ns.relay.example.
mail A 192.0.2.77
"""
pytestmark = [pytest.mark.needs("nsd", "nsd"), pytest.mark.process]


@pytest.fixture(scope="module", name="nsd")
def nsd_port(tmp_path_factory):
    """The port of an NSD that has two zones."""
    zones = {"relay.example": ZONE + LONG, "elsewhere.example": ELSEWHERE}
    with nsd(tmp_path_factory.mktemp("nsd"), zones) as port:
        yield port


@pytest.fixture(scope="module")
def unbound(nsd, tmp_path_factory):
    """The port of an Unbound that asks that NSD."""
    home, port = tmp_path_factory.mktemp("unbound"), free_port()
    stubs = "".join(
        f"stub-zone:\n  name: {name}.example\n  stub-addr: 127.0.0.1@{nsd}\n"
        for name in ("relay", "elsewhere")
    )
    (home / "unbound.conf").write_text(
        f'server:\n  interface: 127.0.0.1\n  port: {port}\n  username: ""\n  chroot: ""\n  directory: "{home}"\n'
        f'  pidfile: ""\n  do-daemonize: no\n  do-not-query-localhost: no\n  module-config: "iterator"\n'
        f"remote-control:\n  control-enable: no\n{stubs}"
    )
    with running(["unbound", "-d", "-c", str(home / "unbound.conf")], port):
        yield port


async def look(port, name, kind):
    resolver = DnsResolver(servers=[("127.0.0.1", port)])
    try:
        return await resolver.query(name, kind)
    finally:
        await resolver.close()


SERVERS = ["nsd", pytest.param("unbound", marks=pytest.mark.needs("unbound", "unbound"))]


@pytest.mark.parametrize("server", SERVERS)
async def test_real_servers_are_understood(server, request):
    """Records, CNAMEs, an absence and a name that is not there come out as with our own server."""
    port = request.getfixturevalue(server)
    assert (await look(port, "Relay.Example", RecordType.MX)).names == ("mail.relay.example",)
    assert (await look(port, "www.relay.example", RecordType.AAAA)).addresses == (
        ipaddress.ip_address("2001:db8::9"),
    )
    assert (await look(port, "out.relay.example", RecordType.A)).addresses == (
        ipaddress.ip_address("192.0.2.77"),
    )
    assert (await look(port, "there.relay.example", RecordType.A)).status is Status.NODATA
    assert (await look(port, "nobody.relay.example", RecordType.A)).status is Status.NXDOMAIN
    assert (await look(port, "out.relay.example", RecordType.TXT)).status is Status.NODATA


@pytest.mark.parametrize("server", SERVERS)
async def test_real_servers_cut_and_are_asked_again(server, request):
    """An answer of 13 KB is cut short over UDP, and comes whole over TCP."""
    answer = await look(request.getfixturevalue(server), "many.relay.example", RecordType.TXT)
    assert len(answer.texts) == 60
    assert all(text.startswith(b"x" * 200 + b"-") for text in answer.texts)


@pytest.mark.parametrize("server", SERVERS)
async def test_spf_by_a_real_server(server, request):
    """SPF of a zone in a real server: by MX, by include, and by all."""
    resolver = DnsResolver(servers=[("127.0.0.1", request.getfixturevalue(server))])
    found = [
        await check_mail_from(
            ipaddress.ip_address(peer), helo="h.example", reverse_path="a@relay.example", resolver=resolver
        )
        for peer in ("192.0.2.9", "198.51.100.7", "203.0.113.1")
    ]
    await resolver.close()
    assert [(each.result, each.mechanism) for each in found] == [
        ("pass", "mx"),
        ("pass", "include:_spf.relay.example"),
        ("fail", "-all"),
    ]


async def test_a_server_that_knows_nothing_of_a_name_is_a_failure(nsd):
    """REFUSED, for a zone that is not the server's, is no answer."""
    assert (await look(nsd, "other.example", RecordType.A)).status is Status.TEMPERROR
