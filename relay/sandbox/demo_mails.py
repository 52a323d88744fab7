"""The mails of the demo: eight of an ordinary day, each with what must arrive of it.

Owns their words and pictures, the key of the bank that signs one of them, and the records of that bank in the
DNS. Never does I/O.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import dkim

DESK = Address("Support", "support", "example.com")
ANNA = Address("Anna Schmidt", "anna", "kunde.example")
BANK = Address("The Bank", "service", "bank.example")
#: The private key of the made-up bank: anybody may know it.
_KEY = hashlib.sha256(b"the bank of the demo").digest()
_PUBLIC_KEY = "coWSEFJnPtpT5fxwtZl6jmOlFEp/wm/3Z3TkGilFYDM="


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail to be sent, and what its contact is compared with."""

    #: The special thing about the mail, in a few words.
    about: str
    subject: str
    sender: str
    recipient: str
    octets: bytes = field(repr=False)
    #: A sentence that must stand in the body.
    sentence: str
    #: Name and SHA-256 of every file in it: each must be attached, or be in the body (drawn, or named).
    files: tuple[tuple[str, str], ...] = ()
    #: SHA-256 of the pictures that the HTML shows: each must be attached, or be drawn in the body.
    pictures: tuple[bytes, ...] = field(default=(), repr=False)
    #: The beginning of the sentence by which an agent learns who sent it; "" where it is not compared.
    identity: str = ""


def demo_mails() -> tuple[Mail, ...]:
    """The eight mails of the demo."""
    return (
        _plain(), _with_files(), _with_picture(), _japanese(), _reply(), _too_much(), _verified(), _spoofed(),
    )  # fmt: skip


def demo_records() -> dict[str, str]:
    """The TXT records of the bank in the DNS, by name."""
    return {
        "bank.example": "v=spf1 ip4:192.0.2.25 -all",
        "_dmarc.bank.example": "v=DMARC1; p=reject",
        "demo._domainkey.bank.example": f"v=DKIM1; k=ed25519; p={_PUBLIC_KEY}",
    }


def _message(subject: str, sender: Address, number: int) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = sender, DESK, subject
    message["Date"] = "Mon, 23 Nov 2026 09:30:00 +0100"
    message["Message-ID"] = f"<demo.{number}@{sender.domain}>"
    return message


def _mail(message: EmailMessage, about: str, sentence: str, *, pictures: tuple[bytes, ...] = ()) -> Mail:
    files = tuple(
        (part.get_filename(""), hashlib.sha256(part.get_payload(decode=True)).hexdigest())  # type: ignore[arg-type]
        for part in message.iter_attachments()
        if part.get_filename()
    )
    return Mail(
        about=about,
        subject=str(message["Subject"]),
        sender=message["From"].addresses[0].addr_spec,
        recipient=message["To"].addresses[0].addr_spec,
        octets=message.as_bytes(),
        sentence=sentence,
        files=files,
        pictures=pictures,
    )


def _plain() -> Mail:
    message = _message("Where is my order 4711?", ANNA, 1)
    message.set_content("Hello,\n\nI ordered three weeks ago and nothing has come.\n\nAnna\n")
    return _mail(message, "a plain mail", "nothing has come")


def _with_files() -> Mail:
    message = _message("Invoice and meter readings", Address("Bob Ngata", "bob", "shop.example"), 2)
    message.set_content("Please find two files attached.\n")
    message.add_attachment(
        _pdf("Invoice 2026-11"), maintype="application", subtype="pdf", filename="invoice.pdf"
    )
    readings = b"day;kWh\n1;7,2\n2;6,9\n"  # as octets, so that Base64 keeps its line ends as they are
    message.add_attachment(readings, maintype="text", subtype="csv", filename="Zählerstände.csv")
    return _mail(message, "two attachments, one with a non-ASCII name", "two files attached")


def _with_picture() -> Mail:
    picture = _png(96, 64)
    message = _message("The parcel arrived damaged", Address("Carol Diaz", "carol", "home.example"), 3)
    message.set_content("The parcel arrived damaged, see the picture.\n")
    message.add_alternative(
        "<p>The parcel arrived <b>damaged</b>, see the picture:</p>"
        '<p><img src="cid:damage@home.example" alt="a dent"></p>',
        subtype="html",
    )
    html = message.get_payload()[1]  # type: ignore[index]
    html.add_related(picture, "image", "png", cid="<damage@home.example>", filename="damage.png")  # type: ignore[union-attr]
    return _mail(message, "HTML with an inline image", "arrived <b>damaged</b>", pictures=(picture,))


def _japanese() -> Mail:
    message = _message(
        "見積書のご確認をお願いいたします", Address("山田 太郎", "yamada", "kaisha.example"), 4
    )
    message.set_content(
        "お世話になっております。\n添付の見積書をご確認ください。\n", charset="iso-2022-jp", cte="7bit"
    )
    message.add_attachment(_pdf("Quotation"), maintype="application", subtype="pdf", filename="見積書.pdf")
    return _mail(message, "Japanese, in ISO-2022-JP", "添付の見積書をご確認ください。")


def _reply() -> Mail:
    message = _message("Re: [4711] We are looking into it", ANNA, 5)
    message["In-Reply-To"] = "<contact.4711@example.com>"
    message["References"] = "<demo.1@kunde.example> <contact.4711@example.com>"
    message.set_content(
        "Thank you, that was quick.\n\nOn Mon, 23 Nov 2026, Support wrote:\n> We are looking into it.\n"
    )
    return _mail(message, "a reply", "that was quick")


def _too_much() -> Mail:
    message = _message("All the papers", Address("Dr. Erika Beispiel", "erika", "kanzlei.example"), 6)
    message.set_content("Twelve papers and an archive.\n")
    for number in range(1, 13):
        paper = _pdf(f"Paper {number}")
        message.add_attachment(
            paper, maintype="application", subtype="pdf", filename=f"paper-{number:02}.pdf"
        )
    message.add_attachment(_zip(), maintype="application", subtype="zip", filename="archive.zip")
    return _mail(message, "does not fit: 12 attachments and a .zip", "Twelve papers and an archive.")


def _verified() -> Mail:
    message = _message("Your new card is on its way", BANK, 7)
    message.set_content("Dear customer service,\n\nthe new card was posted today.\n\nThe bank\n")
    mail = _mail(message, "from a bank, which signed it", "the new card was posted today")
    signature = dkim.sign(
        mail.octets,
        b"demo",
        b"bank.example",
        base64.b64encode(_KEY),
        signature_algorithm=b"ed25519-sha256",
        canonicalize=(b"relaxed", b"relaxed"),
        include_headers=[b"From", b"To", b"Subject", b"Date", b"Message-ID"],
    )
    return replace(mail, octets=signature + mail.octets, identity="verified: bank.example signed this")


def _spoofed() -> Mail:
    message = _message("Please confirm your password", BANK, 8)
    message.set_content("Your account will be closed unless you answer with your password.\n")
    mail = _mail(message, "in the name of that bank, from somebody else", "Your account will be closed")
    return replace(mail, identity="not verified: the domain asks to reject such mail")


def _pdf(title: str) -> bytes:
    """A PDF of a page with a title: the least that a reader opens."""
    drawing = f"BT /F1 24 Tf 72 720 Td ({title}) Tj ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    out += (
        b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            table,
            len(out),
        )
    )
    return bytes(out)


def _png(width: int, height: int) -> bytes:
    """A picture of a slope of colours."""
    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, 150)) for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("contract.txt"), "Between the one party and the other.\n" * 40)
    return out.getvalue()
