"""A route with a standby: under load, with lost replies and an instance away, a mail is one contact."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter

import pytest
from harness import CONFIG, Daemon, build_mail, send, until

from relay.config.builtin import builtin_config
from relay.sandbox.service import buckets_of, running_sandbox, settings_of

pytestmark = pytest.mark.process

HOME, FAR = "5eed0b0c-5a4d-4b0c-9c0d-0123456789ab", "11111111-1111-1111-1111-111111111111"
FLOWS = ("aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000001")
TABLES = f"""
[alarms]
every_seconds = 0.3
[connect.instances."{FAR}"]
region = "us-west-2"
[[routes]]
name = "claims"
match = ["claims@example.net"]
standby = "{FAR}"
contact_flow_id = "{FLOWS[0]}"
standby_flows = {{ "{FLOWS[0]}" = "{FLOWS[1]}" }}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A sandbox with an instance in each of two Regions, and a daemon with a route that has both."""
    text = CONFIG.format(data_dir="/d", port=1, receivers=1, rate=1_000, burst=1_000, extra=TABLES)
    tables = tomllib.loads(text)
    config = builtin_config(**{key: tables[key] for key in ("connect", "routes", "s3")})
    home = tmp_path_factory.mktemp("standby")
    with (
        running_sandbox(settings=settings_of(config), buckets=buckets_of(config)) as box,
        Daemon(home, env=box.environ(), extra=TABLES).start() as daemon,
    ):
        yield box, daemon
        assert daemon.stop() == 0


def switch(daemon, place):
    """Switch the route. Returns what the command printed."""
    return json.loads(daemon.run("route", "switch", "claims", "--to", place, "--json").stdout)


def places_of(box):
    """The instance of each contact, by subject."""
    found = {}
    for contact in box.contacts():
        request = contact["request"]
        found.setdefault(request["EmailMessage"]["RawMessage"]["Subject"], []).append(request)
    return found


def owed(daemon):
    """The entries that are not contacts yet."""
    return json.loads(daemon.run("queue", "list", "--json").stdout)


def test_one_contact_a_mail_whichever_side(world):
    """While the own instance is away and replies are lost, mail in doubt stays with it and all other mail
    goes to the standby; switched back and forth under load, each mail is one contact, of either instance,
    with the flow of that one.
    """
    box, daemon = world
    box.chaos({"connect": {"lose_reply": 0.3, "throttle": 0.1}})
    numbers = iter(range(1_000))
    sent = []

    def mail(count):
        for _ in range(count):
            sent.append(build_mail(f"s{next(numbers)}"))
            send(daemon.port, sent[-1], to=["claims@example.net"])

    mail(10)
    box.connect.away.add("eu-central-1")
    mail(10)
    until(lambda: any(entry["reason"].startswith("connect.") for entry in owed(daemon)))
    assert switch(daemon, "standby")["instance_id"] == FAR
    assert switch(daemon, "standby")["changed"] is False
    mail(10)
    until(lambda: set(places_of(box)) >= {each["Subject"] for each in sent[20:]})
    assert daemon.wait_for("route.switched", route="claims", standby=True)["instance"] == FAR
    until(lambda: re.search(r"^relay_routes_on_standby\S* 1.0$", daemon.ask("metrics")[1], re.MULTILINE))
    box.connect.away.clear()
    assert switch(daemon, "primary")["instance_id"] == HOME
    mail(10)
    switch(daemon, "standby")
    mail(5)
    switch(daemon, "primary")
    box.chaos({"connect": {"lose_reply": 0, "throttle": 0}})
    until(lambda: not owed(daemon), seconds=60)
    found = places_of(box)
    assert Counter(map(len, found.values())) == {1: len(sent)}
    requests = [requests[0] for requests in found.values()]
    assert {request["InstanceId"] for request in requests} == {HOME, FAR}
    assert {(request["InstanceId"], request["ContactFlowId"]) for request in requests} == {
        (HOME, FLOWS[0]),
        (FAR, FLOWS[1]),
    }


def test_check_looks_at_both_instances(world):
    """Addresses, flows and pace of the standby are examined as those of the own instance are."""
    _box, daemon = world
    said = " ".join(daemon.run("check").stdout.split())
    for line in (
        f"standby: claims: {FAR} stands by",
        f"instance {FAR}: has the addresses of our routes",
        f"flows of instance {FAR}: are there (1)",
        f"flows of instance {HOME}: are there (1)",
        "in us-west-2: 1000 requests a second",
    ):
        assert line in said, said


def test_switch_of_what_cannot_be_switched_is_refused(world):
    """A route without a standby, and one that is none, are bad usage; a list says where each leads."""
    _box, daemon = world
    for name, words in (("sales@example.com", "has no standby"), ("nobody", 'no route is named "nobody"')):
        refused = daemon.run("route", "switch", name, "--to", "standby")
        assert (refused.returncode, words in refused.stderr) == (2, True)
    listed = json.loads(daemon.run("route", "list", "--json").stdout)
    assert {each["route"]: each["standby"] for each in listed}["claims"] == FAR
