"""What `relay check` finds of our own domains in the DNS, asked of a real server on loopback."""

from __future__ import annotations

import pytest
from dns_server import dns_in_a_thread

from relay.check.domains import examine_domains, list_domains
from relay.config.builtin import builtin_config

ZONE = {
    ("mx1.desk.example", "A"): ["192.0.2.1"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mx1.desk.example."],
    ("_25._tcp.mx1.desk.example", "TLSA"): ["3 1 1 " + "ab" * 32],
    ("desk.example", "MX"): ["10 MX1.desk.example."],
    ("desk.example", "TXT"): ['"v=spf1 mx -all"'],
    ("_dmarc.desk.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("_mta-sts.desk.example", "TXT"): ['"v=STSv1; id=1"'],
    ("moved.example", "MX"): ["10 mx.elsewhere.example."],
    ("moved.example", "TXT"): ['"v=spf1 -all"', '"v=spf1 mx -all"'],
    ("_dmarc.moved.example", "TXT"): ['"v=DMARC1; p=none"'],
    ("mute.example", "MX"): "silent",
    ("mute.example", "TXT"): "silent",
    ("_dmarc.mute.example", "TXT"): "silent",
    ("_mta-sts.mute.example", "TXT"): "silent",
}


@pytest.fixture(scope="module")
def server():
    """The address of a server that knows these domains."""
    with dns_in_a_thread(ZONE) as running:
        yield f"127.0.0.1:{running.port}"


def examine(server, *matches, hostname="mx1.desk.example", role="mx"):
    config = builtin_config(
        hostname=hostname,
        dns={"servers": [server], "timeout_seconds": 0.5},
        routes=[{"match": [each], "destination": "support@desk.example"} for each in matches],
        listeners=[{"bind": "127.0.0.1:2525", "role": role}],
    )
    return [(each.level, each.subject, each.detail) for each in examine_domains(config)]


def test_a_domain_that_is_well_has_no_warning(server):
    """A host with its name, and a domain with MX, SPF and DMARC, are ok line by line."""
    found = examine(server, "support@desk.example")
    assert {level for level, _, _ in found} == {"ok"}
    assert [subject for _, subject, _ in found].count("domain desk.example") == 4
    assert any("TLSA" in detail for _, _, detail in found)
    assert any("MTA-STS" in detail for _, _, detail in found)


def test_a_domain_without_records_is_told_what_to_publish(server):
    """Each missing record stands in the finding as it is to be published."""
    found = examine(server, "@bare.example")
    said = " ".join(detail for level, subject, detail in found if level == "warn")
    assert '"bare.example. MX 10 mx1.desk.example."' in said
    assert '"bare.example. TXT v=spf1 ' in said
    assert '"_dmarc.bare.example. TXT v=DMARC1; ' in said


def test_records_that_do_not_serve_are_told(server):
    """MX elsewhere, two SPF records and p=none are there, and each is said for what it is."""
    said = [
        detail for level, subject, detail in examine(server, "@moved.example") if subject.startswith("domain")
    ]
    assert "leads elsewhere" in said[0]
    assert "several SPF records" in said[1]
    assert "asks for nothing" in said[2]


def test_dns_that_is_silent_is_no_missing_record(server):
    """A server that does not answer never leads to advice to publish a record that may be there."""
    found = [each for each in examine(server, "@mute.example") if each[1] == "domain mute.example"]
    assert {level for level, _, _ in found} == {"warn"}
    assert not any("publish" in detail for _, _, detail in found)


def test_a_host_without_address_or_name_is_told(server):
    """The host's own address, and the name of the address, are what other servers look at first."""
    said = [detail for _, subject, detail in examine(server, "@desk.example", hostname="gone.desk.example")]
    assert "has no address in the DNS" in said[0]


def test_only_a_listener_that_faces_the_internet_needs_records(server):
    """Behind another mail server no record of ours matters, and none is asked for."""
    assert examine(server, "@bare.example", role="trusted") == []


def test_domains_are_listed_once_as_the_dns_spells_them():
    """Routes of one domain are one domain, and names beyond ASCII are A-labels."""
    routes = [
        {"match": ["a@straße.example", "@desk.example", "b*@desk.example"], "destination": "a@desk.example"}
    ]
    assert list_domains(builtin_config(routes=routes)) == ["xn--strae-oqa.example", "desk.example"]
