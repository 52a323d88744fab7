"""The progress of a long command, as it is seen without a terminal."""

from __future__ import annotations

from relay.cli.progress import showing_progress


def test_lines_come_after_two_seconds_and_then_every_ten(capsys):
    """A short work shows nothing; a long one a line now and then, on standard error."""
    at = [0.0]
    with showing_progress("backup", monotonic=lambda: at[0]) as report:
        for at[0], done in ((1.9, 10), (2.1, 20), (11.9, 50), (12.2, 60), (13.0, 99)):
            report(done, 100)
        report(0, 0)
    assert capsys.readouterr() == ("", "relay: backup: 20 %\nrelay: backup: 60 %\n")
