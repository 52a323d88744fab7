"""The caches of modules: what they keep for as long as the process lives."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "relay"
#: What a key may be made of: values that are equal after a reload, and hold nothing else.
PLAIN = {
    "str", "bytes", "int", "float", "bool", "None", "tuple", "frozenset", "Network",
    "Any",  # relay.understand.wire: a type of ours
}  # fmt: skip


@pytest.mark.slow
def test_no_cache_of_a_module_has_a_configuration_among_its_keys():
    """What is kept under a key that belongs to one configuration outlives it, by a reload each."""
    seen, wrong = 0, []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            if not any("cache" in ast.unparse(each).split("(")[0].split("_") for each in node.decorator_list):
                continue
            seen += 1
            for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                words = {word.id for word in ast.walk(each.annotation) if isinstance(word, ast.Name)}
                wrong += [
                    f"{path.relative_to(ROOT)}: {node.name}({each.arg}: {word})" for word in words - PLAIN
                ]
    assert seen > 20
    assert not wrong, "\n".join(wrong)
