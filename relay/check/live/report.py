"""The report of `relay check --live`: the answers as JSON and as text, for those who build the relay.

Owns its form. Ids, ARNs, accounts, keys, URLs and addresses are short in it, or gone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from relay import PROGRAM, __version__
from relay.check.live.bench import Bench
from relay.check.live.model import Answer, shorten
from relay.check.live.question import Question
from relay.terminal import write_out


def build_report(bench: Bench, answers: Sequence[tuple[Question, Answer]], *, at: datetime) -> dict[str, Any]:
    """The report in the types of JSON."""
    report = {
        "program": f"{PROGRAM} {__version__}",
        "at": at.isoformat(timespec="seconds"),
        "run": bench.run,
        "region": str(bench.s3.meta.region_name),
        "instance": bench.instance_id,
        "contacts": {"started": bench.started, "ended": bench.ended},
        "answers": [
            {
                "name": question.name,
                "question": question.text,
                "answer": answer.sentence,
                "known": answer.is_known,
                "facts": dict(answer.facts),
            }
            for question, answer in answers
        ],
    }
    short: dict[str, Any] = shorten(report)
    return short


def build_json(report: dict[str, Any]) -> str:
    """The report as a JSON document."""
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"


def build_text(report: dict[str, Any]) -> str:
    """The report as text: a question and its answer on one line each."""
    contacts = report["contacts"]
    lines = [
        f"{report['program']}, {report['at']}, {report['region']}, instance {report['instance']}",
        f"{contacts['started']} contacts were started, {contacts['ended']} have ended",
        *(f"{each['name']}: {each['question']} - {each['answer']}" for each in report["answers"]),
    ]
    return "".join(f"{write_out(line)}\n" for line in lines)
