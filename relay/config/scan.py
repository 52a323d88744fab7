"""The keys of the scanners: which are asked about each mail, and what a contact says of their verdicts.

Owns `[scan]` with `[scan.clamd]` and `[scan.rspamd]`. Never asks a scanner.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from relay.config.section import Section
from relay.config.words import check_scanner_address, check_url, fits

#: A word of a verdict: as SES has them, "PASS", "FAIL", "PROCESSING_FAILED".
Word = Annotated[
    str,
    AfterValidator(
        fits("[A-Za-z0-9_-]{1,64}", "must be a word of at most 64 letters, digits, dashes and underscores")
    ),
]


class Scanner(Section):
    """The limits of one scanner."""

    seconds: float = Field(default=10.0, gt=0, le=120)
    concurrency: int = Field(default=10, ge=1, le=1_000)


class Clamd(Scanner):
    """The virus scanner clamd; none where no address is given."""

    address: Annotated[str, AfterValidator(check_scanner_address)] | Literal[""] = ""


class Rspamd(Scanner):
    """The spam scanner rspamd; none where no URL is given."""

    url: Annotated[str, AfterValidator(check_url)] | Literal[""] = ""


class Scan(Section):
    """The scanners, and what is done without them."""

    on_unavailable: Literal["accept", "defer"] = "accept"
    passed: Word = "PASS"
    failed: Word = "FAIL"
    clamd: Clamd = Clamd()
    rspamd: Rspamd = Rspamd()

    @model_validator(mode="after")
    def _verdicts(self) -> Self:
        if self.passed == self.failed:
            raise ValueError(f'passed = "{self.passed}" is also the word of failed; give each its own')
        return self
