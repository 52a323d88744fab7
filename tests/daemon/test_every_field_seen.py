"""Every field of StartEmailContact, from the wire to the simulator: the real daemon, scanners, a reply."""

from __future__ import annotations

import pytest
from harness import CONFIG, Daemon, build_mail, send, until
from scanner_server import scanners_in_a_thread

from relay.aws.request_limits import input_shape

pytestmark = pytest.mark.process

TABLES = """
[scan.clamd]
address = "{clamd}"
[scan.rspamd]
url = "{rspamd}"
[contact]
description = "{{classification}} mail of {{author_name}}"
[[routes]]
match = ["orders@example.net"]
destination = "support@example.com"
thread = "references"
contact_flow_id = "846ec553-a005-41c0-8341-000000000000"
contact_name = "Order {{order}}"
captures = [{{ from = "subject", pattern = 'Mail (?P<order>[0-9]+)' }}]
references = {{ shop = {{ type = "URL", value = "https://shop.example.com/{{order}}" }} }}
segment_attributes = {{ tier = "gold", score = 5, place = {{ row = 3, shelf = "A" }} }}
"""
#: The members that a service forbids when a contact is started (API reference of References): they belong to
#: files, which are no references then.
FORBIDDEN = {("References", "*", name) for name in ("Status", "Arn", "StatusReason")}
#: In the service model, and not on the page of the operation: segment attributes with an ARN or a list.
UNDOCUMENTED = {"ValueArn", "ValueList"}


def members(shape, path=()):
    """The place of every value that the service model has, "*" for any name or position."""
    if len(path) > 5:
        return  # a map within a map within a map
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from members(member, (*path, name))
    elif shape.type_name == "list":
        yield from members(shape.member, (*path, "*"))
    elif shape.type_name == "map" and getattr(shape.key, "enum", None):
        yield from ((*path, name) for name in shape.key.enum)
    elif shape.type_name == "map":
        yield from members(shape.value, (*path, "*"))
    else:
        yield path


def is_there(value, path):
    """Returns whether a request has a value at a place."""
    if not path:
        return value not in ("", None)
    if path[0] == "*":
        return any(
            is_there(each, path[1:]) for each in (value.values() if isinstance(value, dict) else value)
        )
    return path[0] in value and is_there(value[path[0]], path[1:])


def test_every_field_of_the_service_model_is_filled(box, tmp_path):
    """One mail makes a request with every member that the service model has, by configuration alone, and the
    simulator takes it: the answer to an earlier mail, with a file, behind two scanners.
    """
    with scanners_in_a_thread() as scanners:
        extra = TABLES.format(clamd=scanners.clamd, rspamd=scanners.rspamd)
        rules = 'role = "trusted"\npolicy = "inform"'
        config = CONFIG.replace('role = "trusted"', rules).format(
            data_dir=tmp_path / "spool", port="{port}", extra=extra, receivers=1, rate=100, burst=50
        )
        daemon = Daemon(tmp_path, env=box.environ(), config="")
        daemon.config_path.write_text(config.replace("{port}", str(daemon.port)))
        with daemon.start():
            first = build_mail(1, to="orders@example.net")
            send(daemon.port, first, to=["orders@example.net"])
            until(lambda: len(box.contacts()) == 1)
            reply = build_mail(2, attachment=b"%PDF-1.4", to="orders@example.net, Kim <kim@x.example>")
            reply["Cc"] = "Bob <bob@x.example>"
            reply["In-Reply-To"] = reply["References"] = first["Message-ID"]
            send(daemon.port, reply, to=["orders@example.net"])
            contact = until(lambda: len(found := box.contacts()) == 2 and found[1])
    request = contact["request"]
    places = set(members(input_shape())) - FORBIDDEN
    documented = {path for path in places if not UNDOCUMENTED & set(path)}
    assert len(documented) > 30
    assert {path for path in documented if not is_there(request, path)} == set(), request
    assert request["RelatedContactId"] == box.contacts()[0]["contact_id"]
    assert contact["attachments"][0]["state"] == "available"
