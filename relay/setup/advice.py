"""The set-up that a relay needs outside of it: its IAM policy, the buckets' rules, the DNS records.

Owns those texts, as `relay init` prints them. Never asks AWS or the DNS: `relay check` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from relay.setup.answers import Answers, list_mail_domains

#: Days after which files may go: Connect fetches them within minutes, a dead letter can wait for weeks.
_DAYS = 30


def build_policy(answers: Answers, *, prefix: str) -> dict[str, Any]:
    """The IAM policy of the daemon and of `relay check` (IAM User Guide, "JSON policy elements")."""
    instance, partition = answers.instance.rpartition("/")[2], _partition(answers)
    statements = [
        {
            "Sid": "Contacts",
            "Effect": "Allow",
            "Action": "connect:StartEmailContact",
            "Resource": "*",
            "Condition": {"StringEquals": {"connect:InstanceId": instance}},
        },
        {
            "Sid": "Instance",
            "Effect": "Allow",
            "Action": ["connect:SearchEmailAddresses", "connect:DescribeAttachedFilesConfiguration"],
            "Resource": "*",
        },
        {
            "Sid": "Files",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:GetObject"],
            "Resource": f"arn:{partition}:s3:::{answers.bucket}/{prefix}*",
        },
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def build_list_statement(answers: Answers) -> dict[str, Any]:
    """The statement that a list of senders in a table of DynamoDB adds to that policy (docs/lists.md)."""
    return {
        "Sid": "Lists",
        "Effect": "Allow",
        "Action": ["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Scan"],
        "Resource": f"arn:{_partition(answers)}:dynamodb:*:*:table/TABLE",
    }


def _partition(answers: Answers) -> str:
    """The partition of AWS that the instance is in: "aws", or "aws-cn" and the like."""
    return answers.instance.split(":")[1] if answers.instance.startswith("arn:") else "aws"


def build_lifecycle(*, prefix: str) -> dict[str, Any]:
    """The lifecycle of the relay's bucket: files go weeks later (PutBucketLifecycleConfiguration)."""
    rule = {
        "ID": "relay-mail",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": _DAYS},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    return {"Rules": [rule]}


def build_cors() -> dict[str, Any]:
    """The CORS rules of Connect's own bucket, without which an agent sees neither body nor files."""
    rule = {
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["https://*.my.connect.aws", "https://*.awsapps.com"],
        "AllowedHeaders": ["*"],
    }
    return {"CORSRules": [rule]}


def list_records(answers: Answers, *, today: date) -> Iterator[str]:
    """The records to publish for each domain, in the form of a zone file (RFC 1035 §5.1)."""
    host = answers.hostname.rstrip(".")
    for domain in list_mail_domains(answers):
        if answers.role == "mx":
            yield f"{domain}. MX 10 {host}."
        yield f'{domain}. TXT "v=spf1 include:amazonses.com -all"'
        yield f'_dmarc.{domain}. TXT "v=DMARC1; p=quarantine"'
        if answers.role == "mx" and answers.certificate:
            yield f'_mta-sts.{domain}. TXT "v=STSv1; id={today:%Y%m%d}"'


def build_sts_policy(answers: Answers) -> str:
    """The policy that https://mta-sts.DOMAIN/.well-known/mta-sts.txt has to answer (RFC 8461 §3.2)."""
    return f"version: STSv1\nmode: testing\nmx: {answers.hostname}\nmax_age: 604800\n"


def list_advice(answers: Answers, *, prefix: str, today: date) -> Iterator[tuple[str, str]]:
    """The advice in its order: a heading, and the text below it."""
    yield "IAM policy of the relay", _json(build_policy(answers, prefix=prefix))
    yield (
        "One more statement for each list of senders in a table of DynamoDB ([lists.NAME] dynamodb)",
        _json(build_list_statement(answers)),
    )
    yield (
        f"Lifecycle of the bucket {answers.bucket} (aws s3api put-bucket-lifecycle-configuration)",
        _json(build_lifecycle(prefix=prefix)),
    )
    yield "CORS of Connect's own bucket (aws s3api put-bucket-cors)", _json(build_cors())
    yield "DNS records; SPF names all that send for the domain", "\n".join(list_records(answers, today=today))
    if answers.role == "mx" and answers.certificate:
        yield "MTA-STS, at https://mta-sts.<domain>/.well-known/mta-sts.txt", build_sts_policy(answers)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)
