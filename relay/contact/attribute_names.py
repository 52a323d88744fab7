"""The names of the attributes that every contact may have, each with its meaning (docs/attributes.md).

Owns the names and their order of priority. Never gives a value: `relay.contact.attributes` does.
"""

from __future__ import annotations

#: Each attribute of ours in its order of priority, for docs/attributes.md.
MEANINGS = {
    "spool_id": "the id of the mail at the relay: in its `Received:` line, in the log and in the reply to the sender",
    "message_id": "the mail's Message-ID",
    "original": "the S3 key of the untouched mail, where it is kept (`s3.keep_original`)",
    "classification": "who wrote it: `human`, `auto-reply`, `bounce`, `list` or `bulk`",
    "adaptations": "the codes of what was changed so that the mail fits ([adaptations.md](adaptations.md))",
    "bounce_recipient": "of a bounce: the recipients that a mail of ours did not reach; a claim, as all that a bounce says",
    "bounce_status": "of a bounce: the enhanced status code of the first of them (RFC 3463), such as `5.1.1`",
    "bounce_action": "of a bounce: `failed`, `delayed`, `delivered`, `relayed` or `expanded` (RFC 3464)",
    "bounce_diagnostic": "of a bounce: what the recipient's server said",
    "accepted_at": "when the relay accepted the mail, in UTC: Connect counts from the contact, which may come much later",
    "waited_seconds": "seconds from then to the making of this contact's request",
    "importance": "`high`, `normal` or `low`, where the mail says so (Importance, X-Priority, Priority)",
    "language": "the mail's language (BCP 47): that of Content-Language, else that of its script, such as `ja`, `el` or `und-Cyrl`",
    "envelope_from": "the reverse-path: where the sender's server wants bounces; `<>` when nowhere",
    "envelope_to": "the recipients that led to this contact",
    "reply_to": "the addresses of Reply-To",
    "from": "the authors, where the mail names several or the contact's own address says less",
    "identity": "who is proved to have sent the mail, in one sentence ([identity.md](identity.md)): `verified: bank.example signed this`",
    "policy": "the rules of the policy by which the mail is tagged ([policy.md](policy.md)): `dmarc.quarantine`",
    "risk": "the codes of what may mislead the mail's reader ([risk.md](risk.md)), parted by blanks",
    "spf": "the result of SPF for the reverse-path, where it was checked",
    "dkim": "the result of DKIM, where it was checked: of several signatures that of the best",
    "dmarc": "the result of DMARC, where it was checked",
    "arc": "the result of ARC, where it was checked",
    "iprev": "whether the name of the peer's address leads back to it, where it was checked",
    "dnsbl": "whether the peer's address is on a list of `identity.dnsbl`: `fail` where it is, `none` where not",
    "risk_detail": "for each of those codes, what was found",
    "dmarc_detail": "the author's domain, and the reason of that result",
    "dkim_detail": "each signature's result, domain, selector and reason",
    "spf_detail": "the domain, and the reason of that result",
    "arc_detail": "the reason of that result, and who sealed the mail",
    "dnsbl_detail": "what each of those lists says",
    "hop_detail": "behind systems of ours (`identity.trusted_relays`): which hop was judged, and why",
    "date": "the mail's own date, in UTC",
    "tag": "the part of the recipient between `+` and `@`",
    "peer": "the IP address of the server that handed the mail over",
    "helo": "the name by which that server called itself",
    "tls": "the version and cipher of TLS; missing for mail that came in clear",
    "original_to": "the addresses of To",
    "original_cc": "the addresses of Cc",
    "new_text": "what stands above a quoted mail, else all of the text; at most 2,048 bytes, on one line",
}
