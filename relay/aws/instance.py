"""The edge to an instance's own settings: its file types, the size of its files, its e-mail addresses.

Owns DescribeAttachedFilesConfiguration, DescribeContactFlow and SearchEmailAddresses on the wire (API
reference of Amazon Connect). The botocore that is pinned does not know the first, so `relay.aws.signed` sends
it. What an answer must hold is said by `relay.aws.proof` and `relay.config.discovered`. Never retries, and
never decides what becomes of it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from relay.aws.errors import readable_answer, remote_call
from relay.aws.proof import check_addresses, check_file_settings, unproven
from relay.aws.signed import call
from relay.config.discovered import MOST_ADDRESSES, Discovered, read_addresses

#: Time-out of one question, with all its pages.
PATIENCE_SECONDS = 20.0
_SERVICE = "connect"
_PAGE = 100  # the most of one page (API reference, `MaxResults`)
#: Pages of one list: more would have more addresses than are believed, or none.
_PAGES = MOST_ADDRESSES // _PAGE
#: The settings that count for e-mail; chats, tasks and cases have others (API reference, `AttachmentScope`).
SCOPE = "EMAIL"


async def describe_files(client: Any, instance_id: str) -> Discovered:
    """The file types and the size of a file that an instance takes in e-mail.

    Raises:
        RemoteError: it does not tell, or tells what cannot be.
    """
    bare = instance_id.rpartition("/")[2]
    path = f"/attached-files-configurations/{quote(bare, safe='')}/{SCOPE}"
    async with remote_call(_SERVICE, timeout_seconds=PATIENCE_SECONDS):
        octets = await call(client, "DescribeAttachedFilesConfiguration", path)
    with readable_answer(_SERVICE):
        answer = json.loads(octets)
    return check_file_settings(answer, instance_id=bare, scope=SCOPE)


async def list_addresses(client: Any, instance_id: str) -> frozenset[str]:
    """The e-mail addresses of an instance, each in one spelling.

    Raises:
        RemoteError: it does not tell all of them, or tells what cannot be.
    """
    known: list[str] = []
    more: dict[str, str] = {}
    async with remote_call(_SERVICE, timeout_seconds=PATIENCE_SECONDS):
        for _ in range(_PAGES):
            with readable_answer(_SERVICE):
                page = await client.search_email_addresses(InstanceId=instance_id, MaxResults=_PAGE, **more)
                known += check_addresses(page)
                if len(known) > MOST_ADDRESSES:
                    break
                if not page.get("NextToken"):
                    return read_addresses(known)
                more = {"NextToken": str(page["NextToken"])}
    raise unproven(_SERVICE, f"its list of addresses has no end within {MOST_ADDRESSES:,}, or {_PAGES} pages")


async def find_flow(client: Any, instance_id: str, flow_id: str) -> None:
    """Look for a contact flow of an instance.

    Raises:
        RemoteError: it is not there, or the instance does not tell.
    """
    async with remote_call(_SERVICE, timeout_seconds=PATIENCE_SECONDS):
        with readable_answer(_SERVICE):
            answer = await client.describe_contact_flow(
                InstanceId=instance_id.rpartition("/")[2], ContactFlowId=flow_id
            )
            if not answer.get("ContactFlow", {}).get("Id"):
                raise unproven(_SERVICE, "its answer about a flow names none")
