"""The verdicts of scanners in the request, at every rung."""

from __future__ import annotations

import pytest
from factory import make_context, make_message

from relay.config.builtin import builtin_config
from relay.contact.fit import fit
from relay.contact.original import fit_original
from relay.vocabulary import Cause, Rung

RESULTS = {"relay_virus": "clean", "relay_spam": "spam", "relay_spam_score": "15.00"}


@pytest.mark.parametrize("rung", Rung)
@pytest.mark.parametrize("words", [{}, {"passed": "OK", "failed": "BAD"}])
def test_verdicts_go_with_every_rung(rung, words):
    """A flow finds SES's words, or those of the configuration, in every form of the contact."""
    config = builtin_config(scan=words)
    context = make_context(results=RESULTS)
    if rung is Rung.ORIGINAL:
        plan = fit_original(b"A: b\r\n\r\n", context, config.routes[0], config, why=Cause.LIMIT)
    else:
        plan = fit(make_message(), context, config.routes[0], config, rung=rung)
    verdicts = {key: value for key, value in plan.headers.items() if key.startswith("X_SES_")}
    assert verdicts == {
        "X_SES_VIRUS_VERDICT": words.get("passed", "PASS"),
        "X_SES_SPAM_VERDICT": words.get("failed", "FAIL"),
    }


@pytest.mark.parametrize("word", ["too_big", "unavailable", None])
def test_no_verdict_has_no_header(word):
    """A mail that was not scanned has no verdict."""
    config = builtin_config()
    results = {"relay_virus": word, "relay_spam": word} if word else {}
    plan = fit(make_message(), make_context(results=results), config.routes[0], config)
    assert plan.headers == {}
