"""A person who wrote is erased: data_dir, a versioned bucket and Connect hold nothing afterwards, and nothing
comes twice.
"""

from __future__ import annotations

import json

import boto3
import pytest
from harness import Daemon, build_mail, octets_of, send, until

pytestmark = pytest.mark.process

PDF = b"%PDF-1.7\n" + b"secret-words " * 30_000
SECRETS = (b"ada@customer.example", b"secret-words")


@pytest.fixture
def s3(box):
    """A client of the bucket, which keeps versions."""
    client = boto3.client(
        "s3",
        endpoint_url=box.s3.url,
        region_name=box.keys.region,
        aws_access_key_id=box.keys.access_key,
        aws_secret_access_key=box.keys.secret_key,
    )
    client.put_bucket_versioning(Bucket=box.bucket, VersioningConfiguration={"Status": "Enabled"})
    return client


def versions_of(s3, bucket):
    """All versions and marks of deletions of a bucket."""
    page = s3.list_object_versions(Bucket=bucket)
    return [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]


def state_of(daemon, word):
    """The states of the entries that a word means."""
    return [entry["state"] for entry in json.loads(daemon.run("trace", word, "--json").stdout or "[]")]


def test_a_person_is_erased(box, s3, tmp_path):
    """Three mails (held; delivered with files; dead) are gone by one command after release and drop."""
    with Daemon(tmp_path, env=box.environ(), extra='addresses = "hash"\n').start() as daemon:
        first = build_mail("secret-words-1", attachment=PDF)
        octets = octets_of(first)
        send(daemon.port, octets)
        (contact,) = box.wait(1)
        key = versions_of(s3, box.bucket)[0]["Key"]
        s3.put_object(Bucket=box.bucket, Key=key, Body=PDF)
        s3.delete_object(Bucket=box.bucket, Key=key)
        assert len(versions_of(s3, box.bucket)) > 2

        dead = build_mail("secret-words-2", to="support+dead@example.com")
        send(daemon.port, dead, ("support+dead@example.com",))
        until(lambda: state_of(daemon, dead["Message-ID"]) == ["dead"], so="a dead letter")
        daemon.run("pause", "delivery")
        held = build_mail("secret-words-3")
        send(daemon.port, held)
        daemon.run("queue", "hold", "--sender", "ada@customer.example", "--yes")
        assert state_of(daemon, held["Message-ID"]) == ["held"]

        told = daemon.run("erase", "ada@customer.example", "--yes", "--connect")
        assert told.returncode == 1
        assert "is held: release or drop it first" in told.stderr
        assert "is dead: retry or drop it first" in told.stderr
        assert (
            f"contact {contact['contact_id']}: sender, recipients and subject stay: run this again"
            in told.stderr
        )
        place = key.rpartition("/")[0]
        assert not any(each["Key"].startswith(place) for each in versions_of(s3, box.bucket))

        daemon.run("resume", "delivery")
        daemon.run("queue", "release", "--state", "held", "--yes")
        daemon.run("queue", "drop", "--state", "dead", "--yes")
        until(lambda: len(box.contacts()) == 2, so="the contact of the mail that was held")
        until(lambda: state_of(daemon, held["Message-ID"]) == ["done"], so="its outcome")
        for each in box.book.select():
            each.ended_at = each.received_at
        told = daemon.run("erase", "ada@customer.example", "--yes", "--connect", "--reason", "asked")
        assert (told.returncode, told.stderr) == (0, "")
        for text in (told.stdout, told.stderr):
            assert not any(secret in text.encode().lower() for secret in SECRETS)
        assert "Connect's own bucket" in told.stdout

        for path in daemon.data_dir.rglob("*"):
            if path.is_file():
                assert not any(secret in path.read_bytes().lower() for secret in SECRETS), path
        assert versions_of(s3, box.bucket) == []
        for each in box.contacts():
            request = each["request"]
            assert (request["Name"], request["FromEmailAddress"]["EmailAddress"]) == ("", "")
            assert request["EmailMessage"]["RawMessage"]["Subject"] == ""
            assert {*request["Attributes"].values()} == {""}

        (said,) = daemon.run("trace", "ada@customer.example").stdout.splitlines()[:1]
        name = said.removeprefix("in the log as ")
        log = (tmp_path / "daemon.log").read_text()
        assert name in log
        assert "ada@customer.example" not in log

        send(daemon.port, octets)
        another = build_mail("another")
        another.replace_header("From", "bob@b.example")
        send(daemon.port, another, sender="bob@b.example")
        until(lambda: len(box.contacts()) == 3, so="the contact of another mail")
        assert state_of(daemon, "ada@customer.example")[:3] == ["erased", "erased", "erased"]
        subjects = [each["request"]["EmailMessage"]["RawMessage"]["Subject"] for each in box.contacts()]
        assert sorted(subjects) == ["", "", "Mail another"]
