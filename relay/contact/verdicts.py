"""The verdicts of scanners as headers of StartEmailContact, by which a contact flow branches.

Owns where their words come from: the stored results of a mail and the configuration. They are the same at
every rung, because a flow that branches on them needs them most where something is wrong with a mail.
"""

from __future__ import annotations

from relay.config.model import Config
from relay.contact.plan import Context
from relay.scan.model import VerdictWords, build_verdict_headers


def find_verdicts(context: Context, config: Config) -> dict[str, str]:
    """The headers X_SES_VIRUS_VERDICT and X_SES_SPAM_VERDICT, each where there is a verdict."""
    words = VerdictWords(passed=config.scan.passed, failed=config.scan.failed)
    return build_verdict_headers(context.results, words)
