"""The mistakes of a configuration in sentences: the key, the value, what would be right.

Owns the translation of pydantic's errors. Never does I/O.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from relay.config.keys import all_keys, is_list, names_at, type_at

# Advice for the keys that have no default.
_MISSING = {
    "s3.bucket": 'name the bucket that attachments go to, as in bucket = "example-mail" under [s3]',
    "connect.instance_id": "name the Connect instance: its id or ARN, as instance_id under [connect]",
    "routes": 'say which recipients are ours: [[routes]] with match = ["support@example.com"]',
    "from": 'say where to look, as in from = "subject"',
    "pattern": "give a pattern with a named group, as in pattern = '#(?P<order>[0-9]+)'",
    "value": 'give the template of the reference, as in value = "{subject}"',
    "handler": 'name a handler of yours, as in handler = "example_hooks.vip:Handler" (docs/smtp.md)',
    "match": 'say which recipients it is for, as in match = ["support@example.com"]',
}

# pydantic's word for a mistake of type, and our sentence for what would be right.
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text in quotes",
    "path": "a path in quotes",
    "tuple": 'a list, as in ["..."]',
    "dict": "a table",
    "model": "a table",
}

_BOUNDS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
}


def key_name(path: Sequence[str | int]) -> str:
    """A path as an operator reads it: `listeners[0].bind`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def show(value: Any) -> str:
    """A value as the file would hold it, on one line and short."""
    text = repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _path_of(error: ErrorDetails) -> tuple[str | int, ...]:
    """The path of a mistake: pydantic's own, without the names that it adds for unions and keys of tables."""
    place = error["loc"]
    keep = len(place)
    if error["type"] not in ("missing", "extra_forbidden"):
        while keep and type_at(place[:keep]) is None:
            keep -= 1
    return place[:keep]


def _unknown(path: Sequence[str | int]) -> str:
    """The sentence for a key that does not exist, with the key that the operator may have meant."""
    name = str(path[-1])
    here = names_at(path[:-1])
    near = difflib.get_close_matches(name, here, n=1, cutoff=0.6)
    if near:
        return f'no such key; did you mean "{near[0]}"?'
    elsewhere = [key.name for key in all_keys() if re.split(r"[.\]]", key.name)[-1] == name]
    if elsewhere:
        return f"no such key here; did you mean {elsewhere[0]}?"
    return f"no such key; there are {', '.join(sorted(here))}" if here else "no such key"


def _literal(expected: str, value: Any) -> str:
    words = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(str(value), words, n=1, cutoff=0.6)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"must be {', '.join(show(word) for word in words[:-1])} or {show(words[-1])}{hint}"


def _right(error: ErrorDetails, path: Sequence[str | int]) -> str:
    """The part of a sentence that says what would be right."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        wanted = _MISSING.get(key_name(path)) or _MISSING.get(str(path[-1]), "it has no default")
        return f"is missing; {wanted}"
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "literal_error":
        return _literal(context["expected"], error["input"])
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**context)
    if is_list(type_at(path)):
        return f"must be {_KINDS['tuple']}"
    return f"must be {_KINDS.get(kind.split('_')[0], error['msg'])}"


def _says_all(error: ErrorDetails) -> bool:
    """Returns whether the sentence is complete without the value: none was given, it is a table, or the key
    itself is wrong.
    """
    kind, value = error["type"], error["input"]
    rule_between_keys = kind == "value_error" and not isinstance(value, str)
    return kind == "missing" or isinstance(value, dict) or rule_between_keys or error["loc"][-1] == "[key]"


def build_sentences(exc: ValidationError, origins: Mapping[tuple[str | int, ...], str]) -> tuple[str, ...]:
    """One sentence for each mistake, in the order of the model; `origins` names variables that set a path."""
    errors = [(_path_of(error), error) for error in exc.errors(include_url=False)]
    sentences: dict[tuple[str | int, ...], tuple[str, ...]] = {}
    for path, error in errors:
        if path in sentences:  # the other arms of a union say the same again
            continue
        if error["type"] == "too_short" and any(other[: len(path)] == path != other for other, _ in errors):
            continue  # it is only short of the entries that are wrong
        right = _right(error, path)
        name = origins.get(path, key_name(path))
        value = error["input"]
        if not path:
            sentences[path] = tuple(right.splitlines())
        elif _says_all(error):
            sentences[path] = (f"{name}: {right}",)
        else:
            sentences[path] = (f"{name} = {show(value)}: {right}",)
    return tuple(sentence for some in sentences.values() for sentence in some)
