"""`relay fleet create` and `relay fleet check`: a table is made once, and what lacks is told line by line."""

from __future__ import annotations

import json
import secrets

import pytest
from click.testing import CliRunner
from fleet_helpers import BUCKET, client, deny_on_the_way, environment, make_table

from relay.cli import main
from relay.config.load import load_config
from relay.spool.administration import find_newer
from relay.spool.fleet.tables import build_definition

pytestmark = pytest.mark.system
CONFIG = """
hostname = "mx.example.com"
data_dir = "{home}/data"
[s3]
bucket = "{bucket}"
[connect]
instance_id = "00000000-0000-0000-0000-000000000001"
[[routes]]
match = ["support@example.com"]
[fleet]
table = "{table}"
prefix = "spool-{table}/"
"""


class Commands:
    """`relay fleet …` on a table of its own."""

    def __init__(self, home, url, table=""):
        self.url = url
        self.table = table or f"relay-{secrets.token_hex(6)}"
        self.path = home / f"{self.table}.toml"
        self.path.write_text(CONFIG.format(home=home, bucket=BUCKET, table=self.table))

    def run(self, *words, code=0):
        result = CliRunner().invoke(main, ["fleet", *words, "--config", str(self.path)])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    def create(self):
        return [json.loads(line) for line in self.run("create", "--json").stdout.splitlines()]

    def check(self, *, code=0):
        """The findings that are not ok, as "level subject: detail"."""
        lines = [json.loads(line) for line in self.run("check", "--json", code=code).stdout.splitlines()]
        assert lines
        return [
            f"{each['level']} {each['subject']}: {each['detail']}" for each in lines if each["level"] != "ok"
        ]


@pytest.fixture
def commands(ministack, monkeypatch, tmp_path):
    for name, value in environment(ministack).items():
        monkeypatch.setenv(name, value)
    make_table(ministack)  # and with it the bucket
    client("s3", ministack).put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
    )
    return Commands(tmp_path, ministack)


def test_table_is_made_once_and_then_there(commands):
    """A new table has all that `check` wants; to make it again changes nothing, and says so."""
    assert commands.check(code=1)[0] == (
        f"fail table {commands.table}: there is none; make it: relay fleet create"
    )
    made = commands.create()
    assert {step["is_new"] for step in made} == {True}
    assert [step["subject"] for step in made] == [
        f"table {commands.table}",
        "index due",
        "index mid",
        "index cid",
        "index tok",
        "deletion protection",
        "expiry",
        "point-in-time recovery",
    ]
    assert commands.check() == []
    assert {step["is_new"] for step in commands.create()} == {False}
    assert f"there table {commands.table}: its keys are those of a fleet" in commands.run("create").stdout


def test_each_thing_that_lacks_is_found_and_made(commands):
    """A table that was made by hand, without an index and without protection, is told of line by line, and
    completed without a loss.
    """
    definition = build_definition(commands.table)
    *some, last = definition["GlobalSecondaryIndexes"]
    database = client("dynamodb", commands.url)
    attributes = [each for each in definition["AttributeDefinitions"] if each["AttributeName"] != "tok"]
    database.create_table(
        **{**definition, "GlobalSecondaryIndexes": some, "AttributeDefinitions": attributes}
    )
    item = {"pk": {"S": "M#1"}, "sk": {"S": "M"}}
    database.put_item(TableName=commands.table, Item=item)
    found = commands.check(code=1)
    assert f"fail index {last['IndexName']}: is missing; relay fleet create makes it so" in found
    assert [line.partition(":")[0] for line in found] == [
        "fail index tok",
        "warn deletion protection",
        "warn expiry",
        "warn point-in-time recovery",
        f"fail index {last['IndexName']}",
    ]
    made = {step["subject"] for step in commands.create() if step["is_new"]}
    assert made == {"index tok", "deletion protection", "expiry", "point-in-time recovery"}
    assert commands.check() == []
    assert database.get_item(TableName=commands.table, Key=item)["Item"] == item


def test_another_table_is_left_alone(commands):
    """A table of somebody else's is refused in a sentence, and not changed."""
    database = client("dynamodb", commands.url)
    database.create_table(
        TableName=commands.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "address", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "address", "KeyType": "HASH"}],
    )
    refused = commands.run("create", code=1).stderr
    assert (
        f"the table {commands.table} is none of a fleet: its keys are address, and should be pk, sk"
        in refused
    )
    assert "is none of a fleet" in commands.check(code=1)[0]
    assert not database.describe_table(TableName=commands.table)["Table"].get("DeletionProtectionEnabled")


RIGHTS = (
    {
        "BatchGetItem": "fail rights on table {table}: dynamodb:BatchGetItem is denied; allow it",
        "Query": "fail rights on index mid: dynamodb:Query is denied; allow it",
        "PutItem": "fail rights on table {table}: dynamodb:PutItem is denied; allow it",
        "TransactWriteItems": "fail rights on table {table}: dynamodb:ConditionCheckItem is denied; allow it",
        "Scan": "warn rights on table {table}: dynamodb:Scan is denied; allow it, which commands need that look for "
        "finished mail",
        "DescribeContinuousBackups": "warn point-in-time recovery: cannot be looked at (AccessDeniedException); allow "
        "dynamodb:DescribeContinuousBackups",
        "DELETE": "fail rights on mail-bucket/spool-{table}/: s3:DeleteObject is denied; allow it",
        "GET versioning": "warn bucket mail-bucket: cannot be looked at (AccessDenied); allow s3:GetBucketVersioning",
    },
    {"PUT": "fail rights on mail-bucket/spool-{table}/: s3:PutObject is denied; allow it"},
)


def test_right_that_lacks_is_named(commands, ministack, monkeypatch):
    """Each operation that AWS denies is a line with the right that would be needed, and nothing is
    written.
    """
    commands.create()
    with deny_on_the_way(ministack) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", gate.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gate.url)
        for rights in RIGHTS:
            gate.denied = set(rights)
            found = commands.check(code=1)
            assert {sentence.format(table=commands.table) for sentence in rights.values()} <= set(found)
    items = client("dynamodb", ministack).scan(TableName=commands.table)["Items"]
    assert [item["sk"]["S"] for item in items] == ["format"]


def test_settings_that_endanger_mail_are_told(commands, ministack):
    """Expiry by an attribute that mail has, a lifecycle rule over raw mail and a newer relay's items fail; a
    bucket without versions is a warning.
    """
    commands.create()
    s3, database = client("s3", ministack), client("dynamodb", ministack)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    s3.put_bucket_lifecycle_configuration(
        Bucket=BUCKET,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "old",
                    "Status": "Enabled",
                    "Filter": {"Prefix": "spool-"},
                    "Expiration": {"Days": 30},
                },
                {"ID": "other", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 30}},
            ]
        },
    )
    database.update_time_to_live(
        TableName=commands.table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "at"}
    )
    database.put_item(
        TableName=commands.table, Item={"pk": {"S": "CTRL"}, "sk": {"S": "format"}, "format": {"N": "2"}}
    )
    try:
        found = commands.check(code=1)
    finally:
        s3.delete_bucket_lifecycle(Bucket=BUCKET)
    assert [line.partition(":")[0] for line in found] == [
        "fail expiry",
        f"fail table {commands.table}",
        "warn bucket mail-bucket",
        "fail bucket mail-bucket",
    ]
    assert "is of version 2, and this relay knows 1: a newer relay writes in it" in found[1]
    assert 'the lifecycle rule "old" removes what begins with "spool-"' in found[3]


def test_without_a_table_there_is_no_fleet(tmp_path):
    """The commands are bad usage where the configuration names no table."""
    path = tmp_path / "relay.toml"
    path.write_text(CONFIG.partition("[fleet]")[0].format(home=tmp_path, bucket=BUCKET))
    result = CliRunner().invoke(main, ["fleet", "check", "--config", str(path)])
    assert result.exit_code == 2
    assert "names no table, so there is no fleet" in result.stderr


def test_node_refuses_the_table_of_a_newer_relay(commands):
    """A start notes our version in the table. A newer one that is noted is bad configuration, told in one
    sentence; where AWS does not answer, the node starts and waits.
    """
    commands.create()
    database = client("dynamodb", commands.url)
    key = {"pk": {"S": "CTRL"}, "sk": {"S": "format"}}
    config = load_config(str(commands.path))
    database.delete_item(TableName=commands.table, Key=key)
    assert find_newer(config) == ()
    assert database.get_item(TableName=commands.table, Key=key)["Item"]["format"] == {"N": "1"}
    database.put_item(TableName=commands.table, Item={**key, "format": {"N": "7"}})
    result = CliRunner().invoke(main, ["serve", "--config", str(commands.path)])
    assert result.exit_code == 2
    assert result.stderr == (
        f'relay: fleet.table = "{commands.table}": is of version 7, and this relay knows 1: '
        "a newer relay writes in it; update this one\n"
    )
    assert "is of version 7" in commands.run("create", code=1).stderr
    database.update_table(TableName=commands.table, DeletionProtectionEnabled=False)
    database.delete_table(TableName=commands.table)
    assert find_newer(config) == ()
