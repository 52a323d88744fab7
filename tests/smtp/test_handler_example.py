"""The worked example of docs/smtp.md, run as it stands there."""

from __future__ import annotations

import re
import smtplib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from serving import Serving, build_config

PAGE = (Path(__file__).parents[2] / "docs" / "smtp.md").read_text(encoding="utf-8")
MAIL = b"From: <ann@customer.example>\r\nMessage-ID: <1@customer.example>\r\nSubject: hi\r\n\r\nhello\r\n"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """The module of the page, with a file of customers."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (name,) = re.findall(r'^handler = "(.+):Handler"$', PAGE, re.MULTILINE)
    package, module = ModuleType(name.partition(".")[0]), ModuleType(name)
    exec(compile(source, "docs/smtp.md", "exec"), module.__dict__)
    customers = tmp_path / "customers.csv"
    customers.write_text("bob@else.example,1\nAnn@Customer.example,4711\n")
    module.CUSTOMERS = str(customers)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, name, module)
    return [{"handler": f"{name}:Handler", "seconds": 5.0}], customers


def test_example_names_the_customer(example):
    """The customer of the sender and the sender's urgency become attributes of the contact."""
    tables, _ = example
    with Serving(build_config(hooks=tables)) as serving, smtplib.SMTP("127.0.0.1", serving.ports[0]) as smtp:
        smtp.sendmail("ann@customer.example", ["support@example.com"], MAIL)
        smtp.sendmail("eve@other.example", ["support@example.com"], b"X-A: b\r\nX-Urgent: yes\r\n" + MAIL)
    assert [dict(mail.envelope.attributes) for mail in serving.spool.mails] == [
        {"customer": "4711"},
        {"urgent": "yes"},
    ]


def test_example_refuses_a_domain(example):
    """A sender of the blocked domain is refused at MAIL, in the words of the example."""
    tables, _ = example
    with Serving(build_config(hooks=tables)) as serving, smtplib.SMTP("127.0.0.1", serving.ports[0]) as smtp:
        smtp.ehlo("c.example")
        code, said = smtp.docmd("MAIL", "FROM:<eve@Blocked.example>")
    assert code == 550
    assert said.startswith(b"5.7.1 We take no mail from your domain [")


def test_example_defers_without_its_file(example):
    """When the file of customers is away, mail is deferred, as the page says."""
    tables, customers = example
    customers.unlink()
    with (
        Serving(build_config(hooks=tables)) as serving,
        smtplib.SMTP("127.0.0.1", serving.ports[0]) as smtp,
        pytest.raises(smtplib.SMTPDataError) as caught,
    ):
        smtp.sendmail("ann@customer.example", ["support@example.com"], MAIL)
    assert (caught.value.smtp_code, serving.spool.mails) == (451, [])
