"""A list in a table of DynamoDB: asked over its real protocol, remembered for a minute, and away."""

from __future__ import annotations

import asyncio
import socket

import pytest
from click.testing import CliRunner

from relay import telemetry
from relay.aws.clients import open_service
from relay.aws.tables import add_entry, find_entries, list_entries, remove_entry
from relay.check.senders import examine_list_tables
from relay.cli import main
from relay.config.builtin import builtin_config
from relay.errors import RemoteError
from relay.lists.lookup import Claims, Lists
from relay.policy.lists import Listing

pytestmark = pytest.mark.slow  # moto takes its time


@pytest.fixture(scope="module")
def server():
    """A DynamoDB on loopback, with two tables."""
    import boto3
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    url = "http://{}:{}".format(*running.get_host_and_port())
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("dynamodb", endpoint_url=url, region_name="eu-central-1", **keys)
    for name in ("vip", "own"):
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "address", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "address", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    yield url
    running.stop()


@pytest.fixture(autouse=True)
def aws(server, monkeypatch):
    """The AWS chain, pointed there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


def run(call):
    """The answer of a call that is given the client."""

    async def called():
        async with open_service("dynamodb") as client:
            return await call(client)

    return asyncio.run(called())


def fill(*entries):
    """Put entries into the table."""

    async def put(client):
        for entry in entries:
            await add_entry(client, "vip", entry, seconds=10)

    run(put)


def lists_of(table="vip"):
    """The lists of a configuration with one table."""
    return Lists(builtin_config(lists={"vip": {"dynamodb": table}}))


def claims(author, reverse_path=None):
    """The claims of a mail about its sender."""
    return Claims(authors=(author.encode(),), reverse_path=reverse_path)


def test_entries_are_added_found_listed_and_removed():
    """An entry that is in a table is found among those that are not, until it is removed."""
    fill("@bank.example", ".b.example")

    async def look(client):
        found = await find_entries(
            client, "vip", ["x@bank.example", "@bank.example", ".c.example"], seconds=10
        )
        every = {entry async for entry in list_entries(client, "vip", seconds=10)}
        gone = [await remove_entry(client, "vip", "@bank.example", seconds=10) for _ in range(2)]
        return found, every, gone

    assert run(look) == ({"@bank.example"}, {"@bank.example", ".b.example"}, [True, False])


def test_sender_that_no_table_can_hold_does_not_take_it_away():
    """An address longer than a key, or that is no text, or below a hundred labels, is asked about as far as
    it can be, and the table is not taken for one that is away.
    """
    fill(".spam.example")

    async def look():
        lists = lists_of()
        for sender in (
            "x" * 3_000 + "@spam.example",
            "\ud800@spam.example",
            "x@" + "a." * 120 + "spam.example",
        ):
            _, found = await lists.find(claims("joe@b.example", sender))
            assert [each.sender for each in found] == [True]
        await lists.close()

    asyncio.run(look())


def test_senders_are_looked_up_and_remembered():
    """Author and reverse-path are found by any form of entry; an answer counts after the entry has gone."""
    fill("jane@customer.example", ".xn--mnchen-3ya.example")

    async def look():
        lists = lists_of()
        _, first = await lists.find(claims("Jane <JANE@Customer.example>", "x@mail.MÜNCHEN.example"))
        async with open_service("dynamodb") as client:
            await remove_entry(client, "vip", "jane@customer.example", seconds=10)
        _, again = await lists.find(claims("jane@customer.example"))
        _, nobody = await lists.find(claims("joe@customer.example"))
        await lists.close()
        return first, again, nobody

    first, again, nobody = asyncio.run(look())
    assert first == (Listing(name="vip", author=True, sender=True),)
    assert again == (Listing(name="vip", author=True),)
    assert nobody == ()


def test_table_that_is_away_has_nobody_on_it_and_is_told_once(monkeypatch, capsys):
    """Without a server, and without the table, mail goes on at once, and the log has one line."""
    telemetry.configure("json", "info")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{silent.getsockname()[1]}")

        async def look():
            lists = lists_of()
            begun = asyncio.get_running_loop().time()
            found = [(await lists.find(claims(f"{name}@customer.example")))[1] for name in "abc"]
            seconds = asyncio.get_running_loop().time() - begun
            await lists.close()
            return found, seconds

        found, seconds = asyncio.run(look())
    assert found == [(), (), ()]
    assert seconds < 14  # one time-out of five seconds, and no more while the table rests
    assert "".join(capsys.readouterr()).count("list.away") == 1


def test_call_to_a_table_that_is_none_fails():
    """A missing table is an error of AWS, by its code."""
    with pytest.raises(RemoteError) as caught:
        run(lambda client: find_entries(client, "none", ["a@b.example"], seconds=10))
    assert caught.value.code == "ResourceNotFoundException"


def test_check_says_what_a_table_lacks():
    """`relay check` asks each table, and says which one has to be made."""
    config = builtin_config(lists={"vip": {"dynamodb": "vip"}, "blocked": {"dynamodb": "none"}})
    good, bad = examine_list_tables(config)
    assert (good.level, good.subject) == ("ok", "list vip")
    assert bad.level == "fail"
    assert 'the partition key "address"' in bad.detail


def test_command_reads_and_changes_a_table(tmp_path):
    """`relay list` does with a table what it does with a file."""
    path = tmp_path / "relay.toml"
    path.write_text(
        '[s3]\nbucket = "b-1"\n[connect]\ninstance_id = "00000000-0000-0000-0000-000000000001"\n[lists.vip]\ndynamodb = "own"\n'
        '[[routes]]\nmatch = ["a@example.com"]\n'
    )

    def call(*words):
        told = CliRunner().invoke(main, ["list", words[0], "--config", str(path), "vip", *words[1:]])
        return told.exit_code, told.stdout.splitlines()

    assert call("add", "Jane@Customer.example")[0] == 0
    assert call("show", "JANE@customer.example") == (0, ["jane@customer.example"])
    assert call("remove", "@a.example") == (1, ["@a.example is not on the list vip"])
