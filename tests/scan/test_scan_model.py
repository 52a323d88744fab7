"""The results of scanners as a contact shows them."""

from __future__ import annotations

from relay.scan.model import (
    ScannerKind,
    ScanResult,
    ScanWord,
    Symbol,
    VerdictWords,
    build_scan_attributes,
    build_verdict_headers,
)


def result(kind, word, **more):
    return ScanResult(kind=kind, word=word, reason="in words", **more)


def test_verdicts():
    """A clean mail passes, a virus and spam fail, in the words that were asked for."""
    results = [result(ScannerKind.VIRUS, ScanWord.VIRUS), result(ScannerKind.SPAM, ScanWord.CLEAN)]
    assert build_verdict_headers(build_scan_attributes(results), VerdictWords()) == {
        "X_SES_VIRUS_VERDICT": "FAIL",
        "X_SES_SPAM_VERDICT": "PASS",
    }
    assert build_verdict_headers(build_scan_attributes(results), VerdictWords(passed="ok", failed="bad")) == {
        "X_SES_VIRUS_VERDICT": "bad",
        "X_SES_SPAM_VERDICT": "ok",
    }
    spam = [result(ScannerKind.SPAM, ScanWord.SPAM)]
    assert build_verdict_headers(build_scan_attributes(spam), VerdictWords()) == {
        "X_SES_SPAM_VERDICT": "FAIL"
    }


def test_no_verdict_without_a_scan():
    """A scanner that is away, or a mail that it does not take, gives no verdict."""
    results = [result(ScannerKind.VIRUS, ScanWord.TOO_BIG), result(ScannerKind.SPAM, ScanWord.UNAVAILABLE)]
    assert build_verdict_headers(build_scan_attributes(results), VerdictWords()) == {}
    assert build_verdict_headers({}, VerdictWords()) == {}


def test_attributes():
    """The attributes have the word, and names and scores with every foreign token quoted."""
    results = [
        result(ScannerKind.VIRUS, ScanWord.VIRUS, name='Ei"car\r\n'),
        result(
            ScannerKind.SPAM,
            ScanWord.SPAM,
            score=15.5,
            required=15.0,
            action="add header",
            symbols=(Symbol(name="GTUBE", score=15.5),),
        ),
    ]
    assert build_scan_attributes(results) == {
        "relay_virus": "virus",
        "relay_virus_name": '"Ei\\"car??"',
        "relay_virus_detail": 'in words, "Ei\\"car??"',
        "relay_spam": "spam",
        "relay_spam_score": "15.50",
        "relay_spam_detail": 'in words, score 15.50 of 15.00, action "add header", GTUBE (15.50)',
    }
