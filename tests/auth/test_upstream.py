"""The word of the gateway in front: presets in the forms that gateways write, and who is believed."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.auth.gateways import PRESETS
from relay.auth.origin import Sent, build_terms, find_origin
from relay.auth.signed import read_signed_mail
from relay.auth.upstream import describe_upstream, read_upstream
from relay.auth.zone import ZoneResolver
from relay.config import origin as keys
from relay.config.builtin import builtin_config
from relay.networks import parse_address

#: By the gateway, fields of a mail that it passed on, and what they say: the word, and spf, dkim, dmarc.
FORMS = [
    (
        "microsoft365",
        ("X-Forefront-Antispam-Report: CIP:203.0.113.6;CTRY:DE;LANG:de;SCL:5;SRV:;IPV:NLI;SFV:SPM;\r\n"
        " H:mail.bank.example;PTR:InfoDomainNonexistent;CAT:SPM;SFS:(13230040);DIR:INB;\r\n"
        "Authentication-Results: spf=fail (sender IP is 203.0.113.6) smtp.mailfrom=bank.example;\r\n"
        " dkim=none (message not signed) header.d=none;dmarc=fail action=oreject\r\n"
        " header.from=bank.example;compauth=fail reason=000\r\n"),
        ("spam", "fail none fail"),
    ),
    (
        "microsoft365",
        "X-Forefront-Antispam-Report: CIP:203.0.113.6;SCL:1;SRV:;SFV:NSPM;CAT:HPHISH;DIR:INB;\r\n",
        ("phish", "- - -"),
    ),
    (
        "microsoft365",
        ("X-MS-Exchange-Organization-SCL: 1\r\nX-Forefront-Antispam-Report: SCL:1;SFV:NSPM;CAT:NONE;\r\n"
        "Authentication-Results: spf=pass (sender IP is 203.0.113.6)\r\n smtp.mailfrom=bank.example; dkim=pass"
        " (signature was verified)\r\n header.d=bank.example;dmarc=bestguesspass action=none\r\n"
        " header.from=bank.example;\r\n"),
        ("clean", "pass pass -"),
    ),
    ("microsoft365", "X-MS-Exchange-Organization-SCL: 9\r\n", ("spam", "- - -")),
    ("microsoft365", "X-MS-Exchange-Organization-SCL: -1\r\n", ("clean", "- - -")),
    (
        "google",
        ("X-Gm-Spam: 0\r\nX-Gm-Phishy: 1\r\nAuthentication-Results: mx.google.com;\r\n"
        "       dkim=pass header.i=@bank.example header.s=s1 header.b=AbC+d/e=;\r\n"
        "       spf=pass (google.com: domain of a@bank.example designates 203.0.113.6 as permitted sender)"
        " smtp.mailfrom=a@bank.example;\r\n"
        "       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=bank.example\r\n"),
        ("phish", "pass pass pass"),
    ),
    ("google", "X-Gm-Spam: 1\r\nX-Gm-Phishy: 0\r\n", ("spam", "- - -")),
    ("google", "X-Gm-Spam: 0\r\nX-Gm-Phishy: 0\r\n", ("clean", "- - -")),
    (
        "proofpoint",
        ("X-Proofpoint-Virus-Version: vendor=x engine=1 definitions=2026-01-01_01\r\n"
        "X-Proofpoint-Spam-Details: rule=inbound_spam policy=inbound score=96 spamscore=96\r\n"
        " phishscore=0 impostorscore=0 classifier=spam adjust=0 reason=mlx scancount=1\r\n"
        "Authentication-Results: ppops.net; spf=softfail smtp.mailfrom=a@bank.example;\r\n dkim=fail"
        " header.d=bank.example; dmarc=none\r\n"),
        ("spam", "softfail fail none"),
    ),
    (
        "proofpoint",
        "X-Proofpoint-Spam-Details: rule=notspam policy=default score=0 phishscore=0 classifier=spam\r\n",
        ("clean", "- - -"),
    ),
    ("proofpoint", "X-Proofpoint-Spam-Details: rule=inbound_phish policy=p score=9\r\n", ("phish", "- - -")),
    (
        "mimecast",
        ("X-Mimecast-Spam-Score: 7\r\nAuthentication-Results: relay.mimecast.com;\r\n"
        '\tdkim=pass ("bank.example:s1") header.d=bank.example header.s=s1;\r\n'
        "\tdmarc=pass (policy=reject) header.from=bank.example;\r\n"
        "\tspf=pass (relay.mimecast.com: domain of a@bank.example designates 203.0.113.6 as permitted"
        " sender) smtp.mailfrom=a@bank.example\r\n"),
        ("spam", "pass pass pass"),
    ),
    (
        "mimecast",
        ("X-Mimecast-Impersonation-Protect: Policy=Everyone; Similar Internal Domain=true;\r\n"
        " Similar Monitored External Domain=false; Newly Observed Domain=true; Internal User Name=false\r\n"),
        ("phish", "- - -"),
    ),
    (
        "mimecast",
        ("X-Mimecast-Spam-Score: 0.003\r\nX-Mimecast-Impersonation-Protect: Policy=Everyone;\r\n"
        " Similar Internal Domain=false; Newly Observed Domain=true\r\n"),
        ("clean", "- - -"),
    ),
    (
        "rspamd",
        ("X-Rspamd-Server: gw\r\nX-Rspamd-Action: add header\r\n"
        "X-Spamd-Result: default: False [8.31 / 15.00];\r\n\tBAYES_SPAM(5.10)[100.00%];\r\n"
        "\tPHISHING(4.00)[bank.example->evil.example];\r\n"
        "Authentication-Results: gw.ours;\r\n\tdkim=none;\r\n"
        '\tdmarc=fail reason="No valid SPF, No valid DKIM" header.from=bank.example (policy=reject);\r\n'
        "\tspf=fail (gw.ours: domain of a@bank.example does not designate 203.0.113.6 as permitted sender)"
        " smtp.mailfrom=a@bank.example\r\n"),
        ("phish", "fail none fail"),
    ),
    ("rspamd", "X-Spamd-Result: default: True [16.20 / 15.00]; GTUBE(0.00)[]\r\n", ("spam", "- - -")),
    ("rspamd", "X-Spam: Yes\r\n", ("spam", "- - -")),
    (
        "rspamd",
        "X-Rspamd-Action: no action\r\nX-Spamd-Result: default: False [-2.00 / 15.00]\r\n",
        ("clean", "- - -"),
    ),
    (
        "spamassassin",
        ("X-Spam-Flag: YES\r\nX-Spam-Level: ************\r\nX-Spam-Status: Yes, score=12.3 required=5.0"
        " tests=BAYES_99,DKIM_SIGNED,\r\n\tDKIM_INVALID,DMARC_REJECT,SPF_FAIL autolearn=no"
        " autolearn_force=no version=4.0.1\r\n"),
        ("spam", "fail fail fail"),
    ),
    (
        "spamassassin",
        "X-Spam-Status: No, score=-1.9 required=5.0 tests=DKIM_SIGNED,DKIM_VALID,SPF_PASS version=4.0.1\r\n",
        ("clean", "pass pass -"),
    ),
    (
        "authentication-results",
        ("Authentication-Results: gw.ours; dkim=fail header.d=a.example; dkim=pass header.d=bank.example\r\n"
        "Authentication-Results: gw.ours; spf=neutral smtp.mailfrom=x@y.example; dmarc=pass"
        " header.from=bank.example\r\nX-Spam-Flag: YES\r\n"),
        ("none", "neutral pass pass"),
    ),
]  # fmt: skip
BOUNDARY = "Received: from mail.bank.example (mail.bank.example [203.0.113.6]) by gw.ours; x\r\n"
MAIL = "From: a@bank.example\r\nSubject: x\r\n\r\nHello\r\n"
ZONE = {
    "bank.example": {"TXT": ["v=spf1 -all"]},
    "_dmarc.bank.example": {"TXT": ["v=DMARC1; p=reject"]},
}


def words_of(said):
    """The word of a gateway, and its results of spf, dkim and dmarc."""
    return said.word, " ".join(str(said.words.get(name, "-")) for name in ("spf", "dkim", "dmarc"))


@pytest.mark.parametrize(("gateway", "fields", "expected"), FORMS)
def test_each_preset_reads_the_forms_of_its_gateway(gateway, fields, expected):
    """Spam, phish and the results of RFC 8601 stand where each gateway writes them."""
    assert words_of(read_upstream(gateway, fields.encode())) == expected


def test_every_preset_has_a_form_a_date_and_a_line_in_the_documentation():
    """A gateway that the configuration takes has a preset, recorded forms, and a date that is told."""
    names = set(get_args(keys.Upstream))
    assert names == set(PRESETS) == {gateway for gateway, _, _ in FORMS}
    page = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()
    for name, preset in PRESETS.items():
        assert re.search(rf"^\| `{name}` \|.*\| {preset.as_of} \|$", page, re.MULTILINE), name


async def origin_of(header, *, peer="192.0.2.7", gateway="rspamd", fields="above", ours=("192.0.2.0/24",)):
    """The attributes of a mail that this peer hands over."""
    believed = {"trusted_relays": list(ours), "upstream": gateway, "upstream_fields": fields}
    config = builtin_config(identity=believed if gateway else {})
    sent = Sent(
        peer=parse_address(peer),
        helo="gw.ours",
        reverse_path="a@bank.example",
        mail=read_signed_mail([(header if "\r\n\r\n" in header else header + MAIL).encode()]),
        received_at=datetime(2026, 11, 29, tzinfo=UTC),
    )
    return await find_origin(sent, ZoneResolver(ZONE), build_terms(config))


SPAM = "X-Rspamd-Action: reject\r\n"
PASSED = "Authentication-Results: gw.ours; dmarc=pass header.from=bank.example\r\n"


@pytest.mark.parametrize(
    ("header", "peer", "gateway", "word"),
    [
        (SPAM + BOUNDARY, "192.0.2.7", "rspamd", "spam"),
        (BOUNDARY + SPAM, "192.0.2.7", "rspamd", "none"),
        ("X-Rspamd-Action: no action\r\n" + BOUNDARY + SPAM, "192.0.2.7", "rspamd", "clean"),
        (SPAM + BOUNDARY, "203.0.113.6", "rspamd", None),
        (SPAM + BOUNDARY, "192.0.2.7", None, None),
        (SPAM + BOUNDARY, "192.0.2.7", "google", "none"),
        (SPAM + BOUNDARY.replace("203.0.113.6", "192.0.2.9"), "192.0.2.7", "rspamd", "spam"),
        (SPAM + "Received: by gw.ours; x\r\n", "192.0.2.7", "rspamd", "spam"),
        (SPAM, "192.0.2.7", "rspamd", "none"),
        ("\ufeff" + SPAM + BOUNDARY, "192.0.2.7", "rspamd", "spam"),
        (
            BOUNDARY.replace("203.0.113.6", "192.0.2.9") + SPAM + BOUNDARY + "X-Rspamd-Action: no action\r\n",
            "192.0.2.7",
            "rspamd",
            "spam",
        ),
    ],
    ids=[
        "above", "below", "both", "from a stranger", "not configured", "of another gateway", "all ours",
        "without an address", "without Received", "behind a byte order mark", "between two of ours",
    ],
)  # fmt: skip
async def test_only_fields_above_our_own_received_field_are_believed(header, peer, gateway, word):
    """The gateway's word counts in mail of a trusted relay, above the lowest Received field of ours; below
    it, and in anybody else's mail, no field of that kind is read.
    """
    attributes = (await origin_of(header, peer=peer, gateway=gateway)).attributes
    assert attributes.get("relay_upstream") == word


@pytest.mark.parametrize(
    ("header", "policy", "sentence"),
    [
        (
            PASSED + BOUNDARY,
            "none",
            "verified by our gateway in front, which saw that bank.example sent this",
        ),
        (BOUNDARY + PASSED, "reject", "not verified: the domain asks to reject such mail"),
        (
            PASSED.replace("bank", "other") + BOUNDARY,
            "reject",
            "not verified: the domain asks to reject such mail",
        ),
        (
            PASSED.replace("pass", "fail") + BOUNDARY,
            "reject",
            "not verified: the domain asks to reject such mail",
        ),
    ],
    ids=["above", "forged below", "another author", "failed there, too"],
)
async def test_a_failure_that_the_gateway_did_not_see_is_lifted(header, policy, sentence):
    """Where DMARC passed at the gateway for the same author, a mail that it changed is not refused here."""
    attributes = (await origin_of(header, gateway="authentication-results")).attributes
    assert (attributes["relay_dmarc"], attributes["relay_dmarc_policy"]) == ("fail", policy)
    assert attributes["relay_identity"] == sentence


#: By the gateway, its networks, and the header of a mail that it passed on, in the order in which it writes:
#: what a stranger sent stands at {sent}.
WHOLE = {
    "microsoft365": (
        ["192.0.2.0/24", "2603:1000::/24"],
        ("Received: from CH0P1.namprd1.prod.gw.ours (2603:10b6:610:1::1) by PH7P2.namprd1.prod.gw.ours\r\n"
        " (2603:10b6:510:2::2) with Microsoft SMTP Server (version=TLS1_3) id 15.21.48.16; Wed\r\n"
        "Received: from SN1P3.namprd1.prod.gw.ours (2603:10b6:610:1:cafe::23) by CH0P1.gw.ours\r\n"
        " (2603:10b6:610:1::33) with Microsoft SMTP Server id 15.21.48.16 via Frontend Transport; Wed\r\n"
        "X-MS-Exchange-Authentication-Results: spf=fail (sender IP is 203.0.113.6)\r\n"
        " smtp.mailfrom=bank.example; dkim=none (message not signed)\r\n header.d=none;dmarc=pass action=none"
        " header.from=bank.example;\r\n"
        "Received-SPF: Fail (gw.ours: domain of bank.example does not designate 203.0.113.6)\r\n"
        "Received: from mail.bank.example (203.0.113.6) by SN1P3.mail.gw.ours (10.167.248.53) with\r\n"
        " Microsoft SMTP Server id 15.21.48.11 via Frontend Transport; Wed\r\n"
        "{sent}X-EOPAttributedMessage: 0\r\n"
        "X-Forefront-Antispam-Report: CIP:203.0.113.6;CTRY:DE;LANG:en;SCL:6;SRV:;IPV:NLI;SFV:SPM;CAT:SPM;\r\n"
        " DIR:INB;\r\n"),
        "spam", "fail none pass", "fail none pass",
    ),
    "google": (
        ["192.0.2.0/24"],
        ("Received: by mail-ej1-f69.gw.ours with SMTP id a640c23a62f3a-1; Wed\r\n"
        "X-Received: by 2002:a17:907:1::1 with SMTP id hc1; Wed\r\n"
        "ARC-Seal: i=1; a=rsa-sha256; t=1; cv=none; d=gw.ours; s=arc; b=AA==\r\n"
        "ARC-Authentication-Results: i=1; mx.gw.ours;\r\n       spf=pass (gw.ours: domain of a@bank.example"
        " designates 203.0.113.6) smtp.mailfrom=a@bank.example;\r\n       dmarc=pass (p=REJECT dis=NONE)"
        " header.from=bank.example\r\n"
        "Received: from mail.bank.example (mail.bank.example. [203.0.113.6])\r\n        by mx.gw.ours with"
        " ESMTPS id n9si1\r\n        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384); Wed\r\n"
        "Received-SPF: pass (gw.ours)\r\n"
        "Authentication-Results: mx.gw.ours;\r\n       spf=pass smtp.mailfrom=a@bank.example;\r\n       dmarc=pass"
        " header.from=bank.example\r\n"
        "{sent}X-Gm-Spam: 0\r\nX-Gm-Phishy: 1\r\n"),
        "phish", "pass - pass", "pass - pass",
    ),
    "proofpoint": (
        ["192.0.2.0/24"],
        ("Received: from pps.filterd (m0096528.ppops.net [127.0.0.1])\r\n\tby mx0a-001.gw.ours (8.18.1.11/8.18.1.11)"
        " with ESMTP id 4a1;\r\n\tWed\r\n"
        "Authentication-Results: ppops.net;\r\n\tspf=softfail smtp.mailfrom=a@bank.example; dmarc=fail"
        " header.from=bank.example\r\n"
        "Received: from mail.bank.example (mail.bank.example [203.0.113.6])\r\n\tby mx0a-001.gw.ours (PPS) with"
        " ESMTPS id 4b2-1\r\n\t(version=TLSv1.3 verify=NOT); Wed\r\n"
        "{sent}X-Proofpoint-GUID: AbCdEf\r\n"
        "X-Proofpoint-Spam-Details: rule=inbound_spam policy=inbound score=99\r\n phishscore=0 spamscore=99"
        " classifier=spam\r\n"),
        "spam", "softfail - fail", "softfail - fail",
    ),
    "mimecast": (
        ["192.0.2.0/24"],
        ("Received: from mail.bank.example (mail.bank.example [203.0.113.6]) by\r\n relay.gw.ours with ESMTP with STARTTLS"
        " (version=TLSv1.3)\r\n id us-mta-1-AbC-1; Wed\r\nX-MC-Unique: AbC-1\r\n"
        "{sent}Authentication-Results: relay.gw.ours;\r\n\tspf=pass smtp.mailfrom=a@bank.example;\r\n\tdmarc=pass"
        " header.from=bank.example\r\nX-Mimecast-Spam-Score: 12\r\nX-Mimecast-Originator: bank.example\r\n"),
        "spam", "- - -", "pass - pass",
    ),
    "rspamd": (
        ["192.0.2.0/24"],
        ("Received: from mail.bank.example (mail.bank.example [203.0.113.6])\r\n\tby gw.ours (Postfix) with ESMTPS id"
        " 4F2\r\n\tfor <support@example.com>; Wed\r\n"
        "Authentication-Results: gw.ours;\r\n\tdkim=none;\r\n\tdmarc=fail header.from=bank.example\r\n"
        "{sent}X-Rspamd-Queue-Id: 4F2\r\nX-Rspamd-Server: gw\r\nX-Spamd-Result: default: False [9.00 / 15.00];\r\n"
        "\tPHISHING(4.00)[bank.example->evil.example]\r\nX-Rspamd-Action: add header\r\nX-Spam: Yes\r\n"),
        "phish", "- - -", "- - -",
    ),
    "spamassassin": (
        ["192.0.2.0/24"],
        ("Received: from mail.bank.example (mail.bank.example [203.0.113.6])\r\n\tby gw.ours (8.18/8.18) with ESMTP id"
        " 4F2; Wed\r\n"
        "{sent}X-Spam-Status: Yes, score=7.1 required=5.0 tests=BAYES_99,SPF_FAIL\r\n\tautolearn=no version=4.0.1\r\n"
        "X-Spam-Flag: YES\r\n"),
        "spam", "- - -", "fail - -",
    ),
    "authentication-results": (
        ["192.0.2.0/24"],
        ("Received: from mail.bank.example (mail.bank.example [203.0.113.6])\r\n\tby gw.ours (Postfix) with ESMTPS id"
        " 4F2; Wed\r\nAuthentication-Results: gw.ours; dmarc=pass header.from=bank.example\r\n{sent}"),
        "none", "- - -", "- - pass",
    ),
}  # fmt: skip
SENT = "From: a@bank.example\r\nSubject: x\r\n"
#: Fields that say the opposite of what each gateway found, as a stranger would write them.
FORGED = {
    "microsoft365": "X-Forefront-Antispam-Report: SCL:-1;SFV:NSPM;CAT:NONE;\r\n",
    "google": "X-Gm-Spam: 0\r\nX-Gm-Phishy: 0\r\n",
    "proofpoint": "X-Proofpoint-Spam-Details: rule=notspam policy=default score=0\r\n",
    "mimecast": "X-Mimecast-Spam-Score: 0\r\n",
    "rspamd": (
        "X-Spamd-Result: default: False [-9.00 / 15.00]\r\nX-Rspamd-Action: no action\r\nX-Spam: No\r\n"
    ),
    "spamassassin": "X-Spam-Status: No, score=-9 tests=SPF_PASS\r\nX-Spam-Flag: NO\r\n",
    "authentication-results": "",
}
RESULTS_FORGED = "Authentication-Results: {by}; spf=pass smtp.mailfrom=bank.example; dmarc=pass header.from=bank.example\r\n"


def heard(attributes):
    """The word of the gateway, and its results of spf, dkim and dmarc as its sentence has them."""
    told = attributes["relay_upstream_detail"]
    words = (re.search(rf" {name}=([a-z]+)", told) for name in ("spf", "dkim", "dmarc"))
    return attributes["relay_upstream"], " ".join(found[1] if found else "-" for found in words)


@pytest.mark.parametrize("gateway", WHOLE)
async def test_whole_mail_of_each_gateway_is_heard_as_far_as_it_can_be_proved(gateway):
    """By default only what stands above counts; where the gateway is said to take out what strangers write,
    all of its fields do. The hop before it is judged either way.
    """
    ours, form, word, above, all_words = WHOLE[gateway]
    header = form.format(sent=SENT) + "\r\nHello\r\n"
    found = await origin_of(header, gateway=gateway, ours=ours)
    assert "judged as of 203.0.113.6 (mail.bank.example)" in found.attributes["relay_hop_detail"]
    assert heard(found.attributes) == ("none", above)
    found = await origin_of(header, gateway=gateway, ours=ours, fields="anywhere")
    assert heard(found.attributes) == (word, all_words)


@pytest.mark.parametrize("fields", ["above", "anywhere"])
@pytest.mark.parametrize("gateway", WHOLE)
async def test_what_a_stranger_writes_is_never_believed_beside_a_gateways_own(gateway, fields):
    """Forged fields, at the top or at the end of what the stranger sent, never speak for him: above they
    change nothing, and elsewhere two fields of a name are none.
    """
    ours, form, word, _, _ = WHOLE[gateway]
    by = re.search(r"203\.0\.113\.6\S*\s+by\s+(\S+)", form)[1]
    forged = FORGED[gateway] + RESULTS_FORGED.format(by=by) + RESULTS_FORGED.format(by="ppops.net")
    for sent in (forged + SENT, SENT + forged):
        plain = await origin_of(form.format(sent=SENT) + "\r\nHello\r\n", gateway=gateway, ours=ours)
        found = await origin_of(
            form.format(sent=sent) + "\r\nHello\r\n", gateway=gateway, ours=ours, fields=fields
        )
        assert heard(found.attributes)[0] in {"none", word}
        if fields == "above":
            assert heard(found.attributes) == heard(plain.attributes)
        elif heard(plain.attributes)[1].endswith("-"):  # its own dmarc does not stand above
            assert heard(found.attributes)[1].endswith("-")
            assert "verified by our gateway" not in found.attributes["relay_identity"]


pieces = st.lists(
    st.sampled_from(
        ["X-Spamd-Result: ", "X-Spam-Status: ", "X-Rspamd-Action: ", "X-Forefront-Antispam-Report: ", "default: True [",
         "tests=", "PHISHING(", "Authentication-Results: ", "spf=pass", "dmarc=", "score=", "rule=", "CAT:", ";", "\r\n",
         "\r\n\t", '"', "(", "\\", "9" * 40, "\x00", "é", "=true", "X-Mimecast-Spam-Score: ", "X-Gm-Spam: 1"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(st.sampled_from(sorted(PRESETS)), pieces)
@example("spamassassin", "X-Spam-Status: tests=" + "A_," * 60_000)
@example("rspamd", "X-Spamd-Result: " + "A_PHISH" * 20_000)
@example("authentication-results", "Authentication-Results: " + "(" * 100_000 + "\r\n" + "a=b;" * 50_000)
def test_no_octets_of_a_gateway_raise_last_or_get_out(gateway, text):
    """Whatever stands in those fields, the word is one of four, and the sentence holds no octet of theirs."""
    begun = time.process_time()
    said = read_upstream(gateway, text.encode())
    told = describe_upstream(said)
    assert time.process_time() - begun < 1
    assert said.word in {"phish", "spam", "clean", "none"}
    assert re.fullmatch(r"[a-z0-9 ().,:=-]{1,200}", told)
