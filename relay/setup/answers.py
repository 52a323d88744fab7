"""The answers that a relay needs before it can work, checked as its configuration will be.

Owns the answers and the configuration that is built of them. Never asks and never writes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from relay.config import Config
from relay.config.connect import check_region
from relay.config.load import read_values
from relay.config.words import check_instance_id, place_of_instance
from relay.domains import encode_domain
from relay.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers given to `relay init`."""

    hostname: str
    #: Whole addresses, or `@domain` for all of a domain.
    addresses: tuple[str, ...]
    #: The address in Connect that gets their mail; empty: each address is one of Connect's, too.
    destination: str = ""
    bucket: str
    region: str
    #: An id, or an ARN.
    instance: str
    role: Literal["mx", "trusted"] = "mx"
    #: Networks of the legacy systems; only on `trusted`.
    allow: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""


def find_mistakes(answers: Answers) -> tuple[str, ...]:
    """The sentences about answers that no configuration can hold. Returns none when all are right."""
    wrong = []
    if not answers.addresses:
        wrong.append(
            'address: name at least one, as in "support@example.com", or "@example.com" for all of it'
        )
    try:
        check_region(answers.region)
    except ValueError as exc:
        wrong.append(f"region = {_quote(answers.region)} {exc}")
    place = place_of_instance(answers.instance)[0]
    if place and place != answers.region:
        wrong.append(
            f"instance = {_quote(answers.instance)} is in {place}, and the Region is {answers.region}"
        )
    else:
        try:
            check_instance_id(answers.instance)
        except ValueError as exc:
            wrong.append(f"instance = {_quote(answers.instance)} {exc}")
    if answers.role == "trusted" and not answers.allow:
        wrong.append('allow: name the networks of your own systems, as in "10.0.0.0/8"')
    if bool(answers.certificate) != bool(answers.key):
        wrong.append("certificate and key: name both files, or neither")
    if not wrong:
        try:
            build_config(answers)
        except ConfigError as exc:
            wrong += exc.sentences
    return tuple(wrong)


def build_config(answers: Answers) -> Config:
    """The configuration as the daemon will read it.

    Raises:
        ConfigError: one sentence for each mistake.
    """
    return read_values(tomllib.loads(build_text(answers)))


def build_text(answers: Answers) -> str:
    """The configuration file: every key that differs from its default, in TOML."""
    parts = [
        "# Written by relay init. config/relay.toml explains every key, and",
        "# docs/configuration.md too; `relay check` says what is wrong.",
        f"hostname = {_quote(answers.hostname)}",
    ]
    if answers.role == "trusted":
        parts += ["", "[[listeners]]", 'role = "trusted"', f"allow = {_quote_all(answers.allow)}"]
    if answers.certificate:
        parts += ["", "[tls]", f"certificate = {_quote(answers.certificate)}", f"key = {_quote(answers.key)}"]
    parts += ["", "[s3]", f"bucket = {_quote(answers.bucket)}"]
    parts += ["", "[connect]", f"instance_id = {_quote(answers.instance)}"]
    parts += ["", "[[routes]]", f"match = {_quote_all(answers.addresses)}"]
    if answers.destination:
        parts.append(f"destination = {_quote(answers.destination)}")
    return "\n".join(parts) + "\n"


def build_environment(answers: Answers, before: str = "") -> str:
    """The environment file of the unit: its Region, and all other lines as they were."""
    line = f"AWS_REGION={answers.region}"
    lines: list[str] = []
    for each in before.splitlines():
        if not each.strip().startswith("AWS_REGION="):
            lines.append(each)
        elif line not in lines:
            lines.append(line)
    return "\n".join([*lines, *([] if line in lines else [line])]) + "\n"


def list_mail_domains(answers: Answers) -> tuple[str, ...]:
    """The domains of the addresses as A-labels, each once."""
    domains = (each.rpartition("@")[2] for each in answers.addresses)
    return tuple(dict.fromkeys(encode_domain(domain) or domain for domain in domains))


def _quote(value: str) -> str:
    # TOML's basic strings have JSON's escapes, and DEL stands escaped in both (TOML 1.0, "String").
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _quote_all(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_quote, values))}]"
