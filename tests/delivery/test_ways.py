"""The places of instances that have quotas of their own."""

from __future__ import annotations

from aws_parts import clients_of

from relay.config.builtin import builtin_config
from relay.config.connect import UNKNOWN_HOME, Quota
from relay.delivery.pace import Pace
from relay.delivery.ways import Lane, Ways
from relay.sandbox.service import ACCOUNT

FAR = "11111111-2222-3333-4444-555555555555"
SPLIT, PLAIN = FAR.replace("1", "2"), FAR.replace("1", "3")
OTHER = FAR.replace("1", "4")


def lane(places):
    """A lane of two calls a second at an instant that stays."""
    return Lane(pace=Pace(rate=2, burst=5, clock=lambda: 0.0), places=places, clock=lambda: 0.0)


def test_attempts_beyond_the_places_wait_one_behind_another():
    """While all places are taken, each further mail is put off by one more step of the pace; a free place
    takes one at once.
    """
    full = lane(1)
    with full.attempt():
        assert [full.wait_seconds() for _ in range(3)] == [0.5, 1.0, 1.5]
    assert full.wait_seconds() == 0.0


def test_no_mail_is_put_off_for_longer_than_half_a_minute():
    """However many wait for a place, none waits longer than thirty seconds for its next look."""
    full = lane(1)
    with full.attempt():
        assert max(full.wait_seconds() for _ in range(1_000)) == 30.0


def test_one_quota_puts_no_limit_on_attempts():
    """Where all instances share one quota, `deliver.concurrency` alone counts."""
    only = lane(None)
    with only.attempt(), only.attempt():
        assert only.wait_seconds() == 0.0


def test_an_instance_has_its_own_limits_and_quota():
    """A table gives an instance its limits; the rest, and every other instance, has the common ones."""
    table = {"region": "us-west-2", "role_arn": "arn:aws:iam::123456789012:role/x", "max_attachments": 50}
    config = builtin_config(connect={"instances": {FAR: table}})
    assert config.of_instance(FAR).connect.max_attachments == 50
    assert config.of_instance(FAR).connect.burst == config.connect.burst
    assert config.connect.find(FAR).quota == Quota(account="123456789012", region="us-west-2")
    assert config.of_instance("00000000-0000-0000-0000-000000000000") is config


def test_an_instance_has_its_own_bucket():
    """What its `s3` names is its own, in its own Region unless it names another; the rest is common."""
    table = {"region": "us-west-2", "s3": {"bucket": "far-mail", "prefix": "far/"}}
    config = builtin_config(
        connect={
            "instances": {
                FAR: table,
                SPLIT: {**table, "s3": {"bucket": "split-mail", "region": "us-east-2"}},
                PLAIN: {"region": "us-west-2", "s3": {"prefix": "plain/"}},
            }
        }
    )
    far, plain = config.of_instance(FAR).s3, config.of_instance(PLAIN).s3
    assert (far.bucket, far.prefix, far.uploads) == ("far-mail", "far/", config.s3.uploads)
    assert (plain.bucket, plain.prefix) == (config.s3.bucket, "plain/")
    regions = [config.connect.find(each).bucket_region for each in (FAR, SPLIT, PLAIN, OTHER)]
    assert regions == ["us-west-2", "us-east-2", None, None]


def test_a_quota_is_known_by_account_and_region():
    """The Region of the environment and a role of our own account name the quota that others leave out."""
    home = Quota(account="123456789012", region="eu-central-1")
    assert Quota(account="", region="").at(home) == Quota(account="", region="eu-central-1")
    assert Quota(account="123456789012", region="").at(home) == Quota(account="", region="eu-central-1")
    assert Quota(account="210987654321", region="us-west-2").at(home).account == "210987654321"
    assert Quota(account="123456789012", region="x").at(UNKNOWN_HOME).account == "123456789012"


async def test_a_role_of_our_own_account_keeps_to_our_pace(box, monkeypatch):
    """Two instances that turn out to share a quota share one lane, with the lesser of their rates, and one
    whose account is another has its own.
    """
    tables = {
        FAR: {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/ours", "requests_per_second": 1.0, "burst": 3},
        SPLIT: {"role_arn": "arn:aws:iam::111111111111:role/theirs", "requests_per_second": 7.0},
    }
    config = {"connect": {"instances": tables}}
    async with clients_of(box.environ(), monkeypatch, **config) as clients:
        ways = Ways(config=builtin_config(**config), clients=clients, clock=lambda: 0.0)
        home, ours, theirs = [await ways.find(each) for each in (OTHER, FAR, SPLIT)]
    assert home.lane is ours.lane
    assert (home.pace.rate, theirs.pace.rate) == (1.0, 7.0)
    assert ([each.name for each in ours.apart], [each.name for each in theirs.apart]) == (
        [],
        ["connect eu-central-1 111111111111"],
    )
