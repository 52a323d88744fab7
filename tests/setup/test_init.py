"""`relay init`: a newcomer's first configuration, and what it says to set up beside it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from click.testing import CliRunner

from relay.cli import main
from relay.config.load import load_config
from relay.setup.advice import build_list_statement, build_policy, list_records
from relay.setup.answers import Answers, build_environment, build_text, find_mistakes

ROOT = Path(__file__).parents[2]
INSTANCE = "12345678-90ab-cdef-1234-567890abcdef"
RIGHT = {
    "hostname": "mx1.example.com",
    "addresses": ("support@example.com",),
    "bucket": "example-mail",
    "region": "eu-central-1",
    "instance": INSTANCE,
}
OPTIONS = (
    "--hostname mx1.example.com --address support@example.com --address @help.example.com "
    f"--bucket example-mail --region eu-central-1 --instance {INSTANCE}"
).split()


@pytest.fixture
def init(tmp_path):
    """Run the command with its files in a directory that does not exist yet."""

    def run(*options, given=OPTIONS, **more):
        place = str(tmp_path / "etc" / "relay.toml")
        return CliRunner().invoke(main, ["init", "--config", place, *given, *options], **more)

    run.place = tmp_path / "etc"
    return run


def test_it_writes_what_the_daemon_reads(init):
    """The file is a whole configuration, and the environment its owner's alone."""
    result = init()
    assert result.exit_code == 0, result.output
    config = load_config(str(init.place / "relay.toml"), environ={})
    assert (config.hostname, config.s3.bucket, config.connect.instance_id) == (
        "mx1.example.com",
        "example-mail",
        INSTANCE,
    )
    assert config.routes[0].match == ("support@example.com", "@help.example.com")
    environment = init.place / "environment"
    assert environment.read_text() == "AWS_REGION=eu-central-1\n"
    assert environment.stat().st_mode & 0o777 == 0o600
    assert (init.place / "relay.toml").stat().st_mode & 0o007 == 0


def test_it_says_what_else_is_to_be_set_up(init):
    """Policy, lifecycle, CORS, records of each domain, and the next command."""
    said = init("--certificate", "/c.pem", "--key", "/k.pem").output
    for words in (
        '"connect:StartEmailContact"',
        f'"connect:InstanceId": "{INSTANCE}"',
        '"arn:aws:s3:::example-mail/mail/*"',
        '"Expiration"',
        '"CORSRules"',
        "help.example.com. MX 10 mx1.example.com.",
        '_dmarc.example.com. TXT "v=DMARC1; p=quarantine"',
        "_mta-sts.example.com. TXT",
        "mode: testing\nmx: mx1.example.com",
        f"AWS_REGION=eu-central-1 relay check --config {init.place}/relay.toml",
    ):
        assert words in said


def test_a_second_run_changes_nothing(init):
    """The same answers leave both files as they are."""
    init()
    before = {file: file.stat().st_mtime_ns for file in init.place.iterdir()}
    said = init().output
    assert said.count(": unchanged") == 2
    assert {file: file.stat().st_mtime_ns for file in init.place.iterdir()} == before


def test_a_file_that_differs_is_shown_and_left(init):
    """Without --yes nobody's work is replaced; the difference is shown."""
    init()
    file = init.place / "relay.toml"
    file.write_text(file.read_text() + "[deliver]\nworkers = 3\n")
    mine = file.read_text()
    result = init()
    assert result.exit_code == 1
    assert "-workers = 3" in result.output
    assert file.read_text() == mine


def test_with_yes_the_old_file_is_kept(init):
    """--yes replaces it; mode and words of the one before are not lost."""
    init()
    file = init.place / "relay.toml"
    file.write_text("mine\n")
    file.chmod(0o644)
    assert init("--yes").exit_code == 0
    assert (init.place / "relay.toml.old").read_text() == "mine\n"
    assert file.stat().st_mode & 0o777 == 0o644
    assert tomllib.loads(file.read_text())["hostname"] == "mx1.example.com"
    assert sorted(each.name for each in init.place.iterdir()) == [
        "environment",
        "relay.toml",
        "relay.toml.old",
    ]


def test_other_lines_of_the_environment_stay(init):
    """Secrets that stand there are not this command's."""
    init.place.mkdir()
    (init.place / "environment").write_text("AWS_PROFILE=relay\nAWS_REGION=us-east-1\nX=1\n")
    assert init("--yes").exit_code == 0
    assert (init.place / "environment").read_text() == "AWS_PROFILE=relay\nAWS_REGION=eu-central-1\nX=1\n"


def test_print_writes_nothing(init):
    """--print shows both files."""
    result = init("--print")
    assert result.exit_code == 0
    assert 'bucket = "example-mail"' in result.output
    assert not init.place.exists()


def test_nobody_to_ask(init):
    """Without a terminal each missing option is named, at once."""
    result = init(given=["--hostname", "mx1.example.com"])
    assert result.exit_code == 2
    assert "give --address, --bucket, --region, --instance" in result.output


def test_a_directory_that_cannot_be_written(init, tmp_path):
    """The sentence names the file and the option."""
    (tmp_path / "etc").write_text("a file, not a directory")
    result = init()
    assert result.exit_code == 1
    assert "etc/environment: " in result.output
    assert "--config" in result.output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"addresses": ()}, "address: name at least one"),
        ({"addresses": ("support",)}, "routes[0].match"),
        ({"region": "Frankfurt"}, 'region = "Frankfurt" is no Region'),
        ({"instance": "my-instance"}, "is no instance; write its id"),
        (
            {"instance": f"arn:aws:connect:us-east-1:123456789012:instance/{INSTANCE}"},
            "is in us-east-1, and the Region is eu-central-1",
        ),
        ({"bucket": "Mail"}, "s3.bucket"),
        ({"hostname": "mx 1"}, "hostname"),
        ({"role": "trusted"}, "allow: name the networks"),
        ({"role": "trusted", "allow": ("10.0.0.1/8",)}, "listeners[0].allow"),
        ({"certificate": "/c.pem"}, "certificate and key"),
        ({"hostname": 'a"\n[s3]\nbucket = "b'}, "hostname"),
    ],
)
def test_a_mistake_is_one_sentence(change, words):
    """What no configuration can hold is told before a file is written."""
    (sentence,) = find_mistakes(Answers(**(RIGHT | change)))
    assert words in sentence


def test_one_address_for_all():
    """With a destination there is one route."""
    text = build_text(
        Answers(**(RIGHT | {"addresses": ("@example.com", "a@b.example"), "destination": "s@example.com"}))
    )
    (route,) = tomllib.loads(text)["routes"]
    assert route == {"match": ["@example.com", "a@b.example"], "destination": "s@example.com"}


def test_trusted_needs_no_mx():
    """Behind other mail servers no MX record is advised, and the listener lets only those in."""
    answers = Answers(**(RIGHT | {"role": "trusted", "allow": ("10.0.0.0/8",)}))
    assert find_mistakes(answers) == ()
    assert not any(" MX " in record for record in list_records(answers, today=None))
    assert tomllib.loads(build_text(answers))["listeners"] == [{"role": "trusted", "allow": ["10.0.0.0/8"]}]


def test_policy_of_another_partition():
    """In China, say, the ARN of the bucket begins otherwise."""
    arn = f"arn:aws-cn:connect:cn-north-1:123456789012:instance/{INSTANCE}"
    answers = Answers(**(RIGHT | {"instance": arn, "region": "cn-north-1"}))
    assert find_mistakes(answers) == ()
    policy = json.dumps(build_policy(answers, prefix="mail/"))
    assert "arn:aws-cn:s3:::example-mail/mail/*" in policy
    assert f'"connect:InstanceId": "{INSTANCE}"' in policy


def find_calls():
    """The actions of IAM for all calls to AWS that the program makes."""
    source = "\n".join(
        path.read_text() for path in (ROOT / "relay").rglob("*.py") if path.parent.name != "sandbox"
    )
    called = set(re.findall(r"(?:client|s3|connect|_sns)\.(\w+)\(|_call\(\s*\"(\w+)\"", source))
    called = {name for pair in called for name in pair} - {"", "head_bucket"}
    called.add("assume_role" if "AioAssumeRoleCredentialFetcher(" in source else "")
    found = {
        f"{service}:{operation}"
        for service in ("connect", "s3", "dynamodb", "sns", "sts")
        for operation in Loader().load_service_model(service, "service-2")["operations"]
        if xform_name(operation) in called
    }
    # Calls that the pinned botocore does not know are signed by hand (aws/signed.py).
    found |= {f"connect:{name}" for name in re.findall(r'call\(\s*(?:self\._)?client, "(\w+)"', source)}
    return {ACTIONS.get(action, action) for action in found} - {"dynamodb:TransactWriteItems"}


#: Calls whose action has another name in IAM; a transaction needs the actions of its parts.
ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
}


def test_every_call_to_aws_has_its_permission_where_an_operator_looks():
    """README names an action for each call, or docs/fleet.md and docs/operations.md do for a fleet and for
    `relay erase`; `relay init` prints those of the calls that are none of these, no alarm's, no other
    account's, and none of `relay check --live`.
    """
    calls = find_calls()
    live = {
        f"connect:{each}"
        for each in ("StopContact", "DescribeContact", "ListContactReferences", "SearchContacts")
    }
    assert {"connect:StartEmailContact", "s3:PutObject", "dynamodb:BatchGetItem", "sns:Publish"} <= calls
    readme = (ROOT / "README.md").read_text()
    others = [(ROOT / "docs" / name).read_text() for name in ("fleet.md", "operations.md")]
    elsewhere = {call for call in calls if any(f"{call.split(':')[1]}`" in text for text in others)}
    missing = {call for call in calls if call not in readme} - elsewhere
    assert not missing
    answers = Answers(**RIGHT)
    printed = json.dumps([build_policy(answers, prefix="mail/"), build_list_statement(answers)])
    rest = {call for call in calls if f'"{call}"' not in printed}
    assert rest - elsewhere - live <= {"sns:Publish", "sts:AssumeRole"} <= rest
    assert not set(re.findall(r'"(\w+:[A-Z]\w+)"', printed)) - calls - {"s3:GetObject", "connect:InstanceId"}


@pytest.mark.parametrize("before", ["", "A=1", "AWS_REGION=x\nAWS_REGION=y\n", "# AWS_REGION=z\n"])
def test_the_environment_names_one_region(before):
    """However often it stood there."""
    lines = build_environment(Answers(**RIGHT), before).splitlines()
    assert lines.count("AWS_REGION=eu-central-1") == 1
    assert not any(line.startswith("AWS_REGION=") for line in lines if line != "AWS_REGION=eu-central-1")


@pytest.mark.process
def test_questions_are_asked_on_a_terminal(init):
    """At a terminal each missing answer is asked for; several addresses stand on one line."""
    leader, follower = pty.openpty()
    answers = (
        f"mx1.example.com\nsupport@example.com @help.example.com\nexample-mail\neu-central-1\n{INSTANCE}\n"
    )
    command = [sys.executable, "-m", "relay", "init", "--config", str(init.place / "relay.toml")]
    with subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        os.write(leader, answers.encode())
        said, _ = process.communicate(timeout=30)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 0, said
    config = load_config(str(init.place / "relay.toml"), environ={})
    assert [route.match for route in config.routes] == [("support@example.com", "@help.example.com")]
