"""The counts of one session; the dialogs hold what each of them leads to."""

from __future__ import annotations

from relay.config.model import Limits
from relay.smtp.budget import Budget

LIMITS = Limits(errors=2, idle_commands=3)


def test_accepted_mail_renews_what_may_be_refused():
    """Errors, idle commands and guesses count from the last accepted mail on; a mail that was refused
    renews none of them.
    """
    budget = Budget(LIMITS)
    for accepted in (False, True):
        for _ in range(3):
            budget.count_error()
            budget.count_idle()
        assert budget.overdrawn
        assert not budget.count_idle()
        budget.count_mail(accepted=accepted)
        assert budget.overdrawn is not accepted
    assert budget.count_idle()
    assert budget.messages == 2


def test_refusals_past_the_fifth_are_not_logged():
    """The log has five refused commands and five refused recipients of a session, each counted by itself,
    and accepted mail brings no more of the recipients.
    """
    budget = Budget(LIMITS)
    assert [budget.count_error() for _ in range(7)] == [True] * 5 + [False] * 2
    assert [budget.count_recipient() for _ in range(7)] == [True] * 5 + [False] * 2
    budget.count_mail(accepted=True)
    assert budget.count_error()
    assert not budget.count_recipient()


def test_guesses_past_the_fifth_are_delayed():
    """The reply to an unknown recipient is delayed from the sixth on, until a mail is accepted."""
    budget = Budget(LIMITS)
    assert [budget.count_guess() > 0 for _ in range(6)] == [False] * 5 + [True]
    budget.count_mail(accepted=True)
    assert budget.count_guess() == 0.0


def test_three_passwords_are_tried():
    """A session tries three passwords, whatever mail it brings between them."""
    budget = Budget(LIMITS)
    assert budget.count_login()
    budget.count_mail(accepted=True)
    assert [budget.count_login() for _ in range(2)] == [True, False]
