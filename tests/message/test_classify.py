"""Who, or what, wrote a mail."""

from __future__ import annotations

import pytest

from relay.message.classify import classify
from relay.message.parse import parse_message

_REPORT = (
    b"Content-Type: multipart/report; boundary=b; report-type=%b\r\n\r\n--b\r\n\r\nwords\r\n--b\r\n"
    b"Content-Type: message/%b\r\n\r\nStatus: x\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("header", "null_reverse_path", "expected"),
    [
        ("From: ann@example.com\nSubject: Hello", False, "human"),
        ("From: ann@example.com\nSubject: Hello", True, "human"),
        ("Auto-Submitted: no\nSubject: Hello", False, "human"),
        ("Precedence: first-class", False, "human"),
        ("In-Reply-To: <a@b>\nSubject: Re: Hello", False, "human"),
        ("Subject: Please send an automatic reply form", False, "human"),
        ("X-Auto-Response-Suppress: All\nSubject: Quote from Outlook", False, "human"),
        ("Auto-Submitted: auto-replied", False, "auto-reply"),
        ("Auto-Submitted: Auto-Replied (vacation)", False, "auto-reply"),
        ("Auto-Submitted: auto-generated\nIn-Reply-To: <a@b>", False, "auto-reply"),
        ("Auto-Submitted: auto-generated", True, "auto-reply"),
        ("Auto-Submitted: auto-generated", False, "bulk"),
        ("X-Autoreply: yes", False, "auto-reply"),
        ("X-Autorespond: x\nPrecedence: bulk", False, "auto-reply"),
        ("Precedence: auto_reply", False, "auto-reply"),
        ("Subject: Automatic reply: Hello", False, "auto-reply"),
        ("Subject: Out of Office: Hello", False, "auto-reply"),
        ("Subject: Out of Office AutoReply: Hello", False, "auto-reply"),
        ("Subject: [Auto-Reply] Hello", False, "auto-reply"),
        ("Subject: AUTO: Ann Lee is out of the office (returning 3 Feb)", False, "auto-reply"),
        ("Subject: AUTO: Ann Lee ist außer Haus (Rückkehr am 01.03.2025)", False, "auto-reply"),
        ("Subject: AUTO : Ann Lee est absente du bureau (de retour le 01/03/2025)", False, "auto-reply"),
        ("Subject: AUTO: how do I get out of the office contract?", False, "human"),
        ("Subject: Auto: damage at the door (since 3 March)", False, "human"),
        ("Subject: Poissa: lapsi sairas", False, "human"),
        ("Subject: Abwesend: mein Sohn Tim", False, "human"),
        ("Subject: 不在: 明日の配達", False, "human"),
        ("Subject: Poissa: x\nIn-Reply-To: <a@b>", False, "auto-reply"),
        ("Subject: 不在：x", True, "auto-reply"),
        ("Subject: خودکار جواب: x", False, "auto-reply"),
        ("Subject: Tự động trả lời: x", False, "auto-reply"),
        ("Subject: Resposta automatica: x", False, "auto-reply"),
        ("Subject: Abwesenheitsnotiz: Hallo", False, "auto-reply"),
        ("Subject: Réponse automatique\u00a0: x", False, "auto-reply"),
        ("Subject: 自动答复: x", False, "auto-reply"),
        ("Subject: 自動回覆：x", False, "auto-reply"),
        ("Subject: Odpowiedź automatyczna: x", False, "auto-reply"),
        ("Subject: Automatická odpověď: x", False, "auto-reply"),
        ("Subject: Автоматический ответ: x", False, "auto-reply"),
        ("Subject: Αυτόματη απάντηση: x", False, "auto-reply"),
        ("Subject: Otomatik yanıt: x", False, "auto-reply"),
        ("Subject: Automatikus válasz: x", False, "auto-reply"),
        ("Subject: Automatisk svar: x", False, "auto-reply"),
        ("Subject: Automaattinen vastaus: x", False, "auto-reply"),
        ("Subject: תשובה אוטומטית: x", False, "auto-reply"),
        ("Subject: رد تلقائي: x", False, "auto-reply"),
        ("Subject: 자동 회신: x", False, "auto-reply"),
        ("Subject: 自動応答: x", False, "auto-reply"),
        ("Subject: Out of office\nIn-Reply-To: <a@b>", False, "auto-reply"),
        ("Subject: Out of office\nX-Auto-Response-Suppress: All", False, "auto-reply"),
        ("X-Precedence: auto_reply", False, "auto-reply"),
        ("Subject: Out of office", False, "human"),
        ("Subject: Out of office hours contact number?", False, "human"),
        ("Subject: Automatic reply is not working since Monday", False, "human"),
        ("Subject: Abwesenheitsnotiz einrichten", False, "human"),
        ("Subject: Réponse automatique à désactiver", False, "human"),
        ("Subject: Vacation request: July", False, "human"),
        ("Subject: Vacation: who stands in?", False, "human"),
        ("Subject: 自动回复功能无法使用", False, "human"),
        ("Subject: Re: Automatic reply: Hello", False, "human"),
        ("From: postmasters-club@x.example\nSubject: Returned mail is a nuisance", False, "human"),
        ("From: x@y.example\nSubject: Unzustellbar: Hallo", True, "bounce"),
        ("From: x@y.example\nSubject: 无法送达: Hello", True, "bounce"),
        ("Subject: =?utf-8?q?R=C3=A9ponse_automatique_=3A?= x", False, "auto-reply"),
        ("In-Reply-To: <a@b>\nSubject: Re: Hello", True, "auto-reply"),
        ("From: MAILER-DAEMON@x.example\nSubject: Returned mail: see transcript", False, "bounce"),
        ("From: MAILER-DAEMON@x.example\nSubject: odd words", True, "bounce"),
        ("From: x@y.example\nSubject: Undeliverable: Hello", True, "bounce"),
        ("From: x@y.example\nSubject: Undeliverable parcel?", False, "human"),
        ("From: postmaster@x.example\nSubject: Please check your DNS", False, "human"),
        ("X-Failed-Recipients: a@b.example", False, "bounce"),
        ("List-Id: <l.example>\nList-Post: <mailto:l@example.com>", False, "list"),
        ("List-Id: <l.example>", False, "list"),
        ("Precedence: list", False, "list"),
        ("Mailing-List: contact x", False, "list"),
        ("List-Id: <campaign.example>\nList-Unsubscribe: <https://x.example>", False, "bulk"),
        ("List-Unsubscribe: <https://x.example>", False, "bulk"),
        ("Precedence: bulk", False, "bulk"),
        ("Feedback-ID: 1:2", False, "bulk"),
    ],
)
def test_headers_tell_the_class(header, null_reverse_path, expected):
    """Each habit of the field gives its class."""
    raw = header.replace("\n", "\r\n").encode() + b"\r\n\r\nx\r\n"
    assert classify(parse_message(raw), null_reverse_path=null_reverse_path) == expected


_WRAPPED = (
    b"From: %b\r\nSubject: Fwd: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee below.\r\n--b\r\n"
    b"Content-Type: message/%b\r\n\r\nStatus: 5.1.1\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("author", "kind", "null_reverse_path", "expected"),
    [
        (b"ann@customer.example", b"delivery-status", False, "human"),
        (b"ann@customer.example", b"global-delivery-status", False, "human"),
        (b"ann@customer.example", b"disposition-notification", False, "human"),
        (b"MAILER-DAEMON@customer.example", b"delivery-status", False, "bounce"),
        (b"ann@customer.example", b"delivery-status", True, "bounce"),
        (b"MAILER-DAEMON@customer.example", b"disposition-notification", False, "auto-reply"),
    ],
)
def test_a_report_in_another_mail_is_its_writers(author, kind, null_reverse_path, expected):
    """A person who forwards a report is a person; a program that wraps one sends a report."""
    message = parse_message(_WRAPPED % (author, kind))
    assert classify(message, null_reverse_path=null_reverse_path) == expected


def test_reports_tell_the_class():
    """A delivery report is a bounce whoever sends it; a receipt is an auto-reply."""
    bounce = parse_message(_REPORT % (b"delivery-status", b"delivery-status"))
    receipt = parse_message(_REPORT % (b"disposition-notification", b"disposition-notification"))
    assert classify(bounce, null_reverse_path=False) == "bounce"
    assert classify(receipt, null_reverse_path=True) == "auto-reply"
