"""Tests of `relay.config.handlers`: an operator's module is imported, and all that can be wrong has its
sentence.
"""

from __future__ import annotations

import sys

import pytest

from relay.config.handlers import load_handler

ASYNC = "    async def handle_DATA(self, server, session, envelope):\n        return None\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of an operator, and forgets it after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"operator_{tmp_path.name.replace('-', '_')}"

    def write(text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    sys.modules.pop(name, None)


def test_class_is_made_and_object_is_taken(module):
    """The name of a class gives a new instance, that of an object the object itself, at any depth
    of names.
    """
    name = module(f"class Handler:\n{ASYNC}\nclass Shelf:\n    handler = Handler()\n")
    made = load_handler(f"{name}:Handler")
    assert type(made).__name__ == "Handler"
    assert load_handler(f"{name}:Handler") is not made
    shelf = sys.modules[name].Shelf
    assert load_handler(f"{name}:Shelf.handler") is shelf.handler


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("import nowhere_at_all\n", "Handler", "cannot be imported (ModuleNotFoundError: No module named 'nowhere_at_all'); install what"),
        ("raise RuntimeError('a\\nb' + 'x' * 999)\n", "Handler", "cannot be imported (RuntimeError: a bxxx"),
        ("import sys\nsys.exit(3)\n", "Handler", "cannot be imported (SystemExit: 3); mend the module"),
        ("def\n", "Handler", "cannot be imported (SyntaxError: invalid syntax"),
        ("class Handler:\n    def __init__(self):\n        raise OSError\n", "Handler", "cannot be made (OSError); it is called"),
        ("class Handler:\n    pass\n", "Handler", "has none of handle_MAIL, handle_RCPT and handle_DATA; name"),
        ("class Handler:\n    handle_RCPT = None\n", "Handler", "handle_RCPT is no coroutine function; write"),
        (f"class Handler:\n{ASYNC}", "Handler.other", 'has no "Handler.other"; name a class'),
    ],
)  # fmt: skip
def test_mistake_is_said_on_one_line(module, text, words, said):
    """Whatever an operator's module does when it is imported or made becomes one short sentence."""
    name = module(text)
    with pytest.raises(ValueError, match="; ") as caught:
        load_handler(f"{name}:{words}")
    sentence = str(caught.value)
    assert said in sentence
    assert "\n" not in sentence
    assert len(sentence) < 300


def test_missing_package_is_named():
    """Where a package on the way to the module is missing, the sentence names that one."""
    with pytest.raises(ValueError, match=r"^there is no module relay\.nowhere; install it"):
        load_handler("relay.nowhere.deep:Handler")
