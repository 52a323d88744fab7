"""The keys of the fleet: several nodes that share one spool, in a table of DynamoDB and a bucket.

Owns `[fleet]`. Never asks AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from relay.config.connect import check_region
from relay.config.section import Section
from relay.config.words import check_prefix, check_table, fits

check_node = fits(
    r"[A-Za-z0-9_.-]{0,64}", "is no name of a node; use letters, digits, dots, - and _, 64 at most"
)


class Fleet(Section):
    """The spool that nodes share; every node has its own where no table is named."""

    table: Annotated[str, AfterValidator(check_table)] | Literal[""] = ""
    region: Annotated[str, AfterValidator(check_region)] | None = None
    prefix: Annotated[str, AfterValidator(check_prefix)] = "spool/"
    # Shorter than a second, a lease would end by one slow answer; longer than five minutes, mail would wait.
    lease_seconds: float = Field(default=15.0, ge=1, le=300)
    node: Annotated[str, AfterValidator(check_node)] = ""


def torn_fleet(fleet: Fleet, *, attachments: str) -> Iterator[str]:
    """The sentences for a spool that lies where attachments do, under the prefix `attachments`: rules that
    delete old attachments would delete mail that nobody has seen.
    """
    if fleet.table and fleet.prefix.startswith(attachments):
        yield (
            f'fleet.prefix = "{fleet.prefix}": lies within s3.prefix = "{attachments}", where old files are deleted; '
            "give each a prefix that the other does not begin with"
        )
    elif fleet.table and attachments.startswith(fleet.prefix):
        yield (
            f's3.prefix = "{attachments}": lies within fleet.prefix = "{fleet.prefix}", where mail is kept; '
            "give each a prefix that the other does not begin with"
        )
