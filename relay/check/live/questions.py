"""The questions about a request: its tokens, pace, addresses, texts, limits and thread.

Owns what is sent for each, and what its outcome means. Where AWS documents nothing the relay takes the
cautious side; each answer says whether that was needed. Files have their own in `file_questions`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from relay.check.live.bench import Bench, Started
from relay.check.live.model import Answer
from relay.check.live.question import Question
from relay.contact.limits import ADDRESSES, ATTRIBUTE_BYTES, BODY_BYTES
from relay.errors import FailureClass, RemoteError

_DESCRIBE, _SEARCH = "connect:DescribeContact", "connect:SearchContacts"
#: Requests of one contact that are sent at once: more than the burst of a new account.
_AT_ONCE = 8
_CLOCK_SLACK = timedelta(minutes=5)


def tell(started: Started, accepted: str, refused: str) -> Answer:
    """The answer to a question whose request is either accepted or refused."""
    outcome = accepted if started.refusal is None else refused
    return Answer(sentence=f"{started.word}: {outcome}", facts=started.facts)


async def _fan_out(bench: Bench) -> Answer:
    if len(bench.addresses) < 2:
        return Answer(sentence="the routes name one address of the instance alone", is_known=False)
    others = {"ToAddresses": [{"EmailAddress": bench.addresses[1]}]}
    begun_at = datetime.now(UTC) - _CLOCK_SLACK
    started = await bench.start(bench.build(AdditionalRecipients=others))
    if started.refusal is not None:
        return tell(started, "", "another address of ours in To is not taken")

    async def look() -> tuple[str, ...]:
        found = await bench.contacts.search(since=begun_at, until=datetime.now(UTC) + _CLOCK_SLACK)
        named = tuple(each.contact_id for each in found if each.name == bench.name)
        for contact_id in named:
            bench.note(contact_id)
        return named if len(named) > 1 else ()

    count = max(len(await bench.wait_for(look)), 1)
    facts = {"contacts": count, "waited_seconds": bench.patience_seconds}
    if count == 1:
        return Answer(sentence="one contact alone: our addresses may stay in To and Cc", facts=facts)
    return Answer(sentence=f"{count} contacts: our addresses must be left out of To and Cc", facts=facts)


async def _token(bench: Bench) -> Answer:
    request = bench.build()
    first, again = await bench.start(request), await bench.start(request)
    other = await bench.start({**request, "EmailMessage": bench.mail(body="Another text.")})
    same = "the same contact" if first.contact_id == again.contact_id else "another contact"
    if other.refusal is None:
        another = "the same contact" if other.contact_id == first.contact_id else "a second contact"
    else:
        another = other.word
    return Answer(
        sentence=f"one token and payload twice: {same}; the token with another payload: {another}",
        facts={"same_contact": first.contact_id == again.contact_id, "other": other.facts},
    )


async def _rate(bench: Bench) -> Answer:
    request = bench.build()
    bench.say(f"starting a contact named {bench.name}")

    async def call() -> str:
        try:
            bench.note(await bench.connect.start_email_contact(request))
        except RemoteError as exc:
            if exc.failure is FailureClass.THROTTLED:
                return "throttled"
            return exc.code
        return "passed"

    words = await asyncio.gather(*(call() for _ in range(_AT_ONCE)))
    if not bench.open:
        await bench.start(request)  # an answer may have been lost: the token makes its id known
    passed = words.count("passed")
    return Answer(
        sentence=f"{passed} of {_AT_ONCE} at once passed, {words.count('throttled')} were throttled",
        facts={word: words.count(word) for word in sorted(set(words))},
    )


async def _empty(bench: Bench) -> Answer:
    started = await bench.start(bench.build(EmailMessage=bench.mail(subject="", body=" ")))
    return tell(
        started, "a blank for a body and no subject are taken", "the relay's words for both are needed"
    )


async def _body_bytes(bench: Bench) -> Answer:
    body = "é" * (BODY_BYTES // 2 + 1_000)  # over the limit in bytes, far below it in characters
    started = await bench.start(bench.build(EmailMessage=bench.mail(body=body)))
    return tell(started, "the limit of a body counts characters", "the limit of a body counts bytes")


async def _bare_from(bench: Bench) -> Answer:
    started = await bench.start(bench.build(FromEmailAddress={"EmailAddress": "root@localhost"}))
    return tell(started, "an author without a dot is taken", "such an author needs contact.fallback_from")


async def _recipients(bench: Bench) -> Answer:
    many = [{"EmailAddress": f"relay-live-{number}@invalid.example"} for number in range(ADDRESSES)]
    started = await bench.start(bench.build(AdditionalRecipients={"CcAddresses": many}))
    return tell(started, f"over {ADDRESSES} addresses are taken", f"{ADDRESSES} addresses are the most")


async def _attributes(bench: Bench) -> Answer:
    def fill(size: int) -> dict[str, str]:
        return {"relay_live": "x" * (size - len("relay_live"))}

    whole = await bench.start(bench.build(Attributes=fill(ATTRIBUTE_BYTES)))
    over = await bench.start(bench.build(Attributes=fill(ATTRIBUTE_BYTES + 1)))
    return Answer(
        sentence=f"{ATTRIBUTE_BYTES:,} bytes of attributes: {whole.word}; one more: {over.word}",
        facts={"whole": whole.facts, "over": over.facts},
    )


async def _verdict(bench: Bench) -> Answer:
    started = await bench.start(bench.build(EmailMessage=bench.mail(headers={"X_SES_SPAM_VERDICT": "FAIL"})))
    if started.refusal is not None:
        return tell(started, "", "the header is not taken")
    segments = (await bench.describe(started.contact_id)).get("SegmentAttributes", {})
    shown = {
        key: value.get("ValueString")
        for key, value in segments.items()
        if "VERDICT" in key and isinstance(value, dict)
    }
    words = ", ".join(f"{key} = {value}" for key, value in shown.items()) or "nothing"
    return Answer(sentence=f"a flow sees of the spam verdict FAIL: {words}", facts=shown)


async def _thread(bench: Bench) -> Answer:
    outcomes: dict[str, bool] = {}
    for form in ("<{}>", "{}"):
        bench_id = f"{bench.run}-{len(outcomes)}@invalid.example"
        first = await bench.start(
            bench.build(EmailMessage=bench.mail(headers={"MESSAGE_ID": form.format(bench_id)}))
        )
        headers = {"IN_REPLY_TO": form.format(bench_id), "REFERENCES": form.format(bench_id)}
        reply = await bench.start(bench.build(EmailMessage=bench.mail(headers=headers)))
        if first.refusal or reply.refusal:
            return tell(first if first.refusal else reply, "", "the headers are not taken")
        told = await bench.describe(reply.contact_id)
        related = {
            told.get("ContactAssociationId"),
            told.get("RelatedContactId"),
            told.get("InitialContactId"),
        }
        outcomes["with brackets" if form != "{}" else "without"] = first.contact_id in related
    words = ", ".join(f"{form}: {'yes' if joined else 'no'}" for form, joined in outcomes.items())
    return Answer(sentence=f"headers alone join a thread ({words})", facts=outcomes)


async def _self(bench: Bench) -> Answer:
    started = await bench.start(bench.build(FromEmailAddress={"EmailAddress": bench.addresses[0]}))
    if started.refusal is not None:
        return tell(started, "", "an author that is the destination is refused")
    try:
        await bench.describe(started.contact_id)
    except RemoteError as exc:
        return Answer(
            sentence=f"accepted, and there is no contact ({exc.code}): such mail is lost", facts=started.facts
        )
    return Answer(sentence="accepted, and the contact is there", facts=started.facts)


async def _unknown_address(bench: Bench) -> Answer:
    started = await bench.start(bench.build(DestinationEmailAddress=_nobody(bench)))
    return tell(
        started, "a destination that is not there is taken", "a wrong destination is told by this code"
    )


async def _flow(bench: Bench) -> Answer:
    flows = [
        route.contact_flow_id
        for route in bench.config.routes
        if route.contact_flow_id
        and (route.instance_id or bench.config.connect.instance_id) == bench.instance_id
    ]
    if not flows:
        return Answer(sentence="no route of the instance has a contact_flow_id", is_known=False)
    request = bench.build(DestinationEmailAddress=_nobody(bench), ContactFlowId=flows[0])
    return tell(
        await bench.start(request),
        "with a flow the destination need not be there",
        "a flow does not make up for a wrong destination",
    )


def _nobody(bench: Bench) -> str:
    """An address that the instance does not have, in a domain that it has."""
    return f"relay-live-{bench.run}@{bench.addresses[0].rpartition('@')[2]}"


async def _initiation(bench: Bench) -> Answer:
    started = await bench.start(bench.build())
    if started.refusal is not None:
        return tell(started, "", "not even a plain contact is taken")
    told = await bench.describe(started.contact_id)
    method, channel = told.get("InitiationMethod"), told.get("Channel")
    return Answer(
        sentence=f"a flow sees the initiation method {method} and the channel {channel}",
        facts={"InitiationMethod": method, "Channel": channel},
    )


REQUEST_QUESTIONS = (
    Question(
        name="initiation",
        text="What does a contact of the relay look like to a flow?",
        contacts=1,
        needs=(_DESCRIBE,),
        ask=_initiation,
    ),
    Question(
        name="fan-out",
        text="Does Connect start a contact for each of our addresses in To?",
        contacts=2,
        needs=(_SEARCH,),
        ask=_fan_out,
    ),
    Question(name="token", text="What does a client token do that comes twice?", contacts=2, ask=_token),
    Question(
        name="rate",
        text="How many calls at once are let through?",
        contacts=1,
        effect="throttles other callers of the account for some seconds",
        ask=_rate,
    ),
    Question(name="empty", text="Are an empty subject and a blank body taken?", contacts=1, ask=_empty),
    Question(
        name="body-bytes",
        text="Does the limit of a body count bytes or characters?",
        contacts=1,
        ask=_body_bytes,
    ),
    Question(
        name="bare-from", text="Is an author without a dot in the domain taken?", contacts=1, ask=_bare_from
    ),
    Question(name="recipients", text="Are more than 50 addresses refused?", contacts=1, ask=_recipients),
    Question(name="attributes", text="Is the limit of attributes exact?", contacts=2, ask=_attributes),
    Question(
        name="verdict",
        text="How does a flow see a spam verdict?",
        contacts=1,
        needs=(_DESCRIBE,),
        ask=_verdict,
    ),
    Question(
        name="thread",
        text="Do headers alone join a thread, with angle brackets and without?",
        contacts=4,
        needs=(_DESCRIBE,),
        ask=_thread,
    ),
    Question(
        name="self",
        text="What becomes of mail from the address that it goes to?",
        contacts=1,
        needs=(_DESCRIBE,),
        ask=_self,
    ),
    Question(
        name="unknown-address",
        text="How is a destination refused that is not there?",
        contacts=1,
        ask=_unknown_address,
    ),
    Question(name="flow", text="Does a flow make up for a wrong destination?", contacts=1, ask=_flow),
)
