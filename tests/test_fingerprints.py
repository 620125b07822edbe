"""Fingerprints as a baseline needs them: the same bug is the same one after edits elsewhere, and two bugs are two."""

from __future__ import annotations

from evallint import lint_source
from evallint.fingerprints import fingerprints

BUG = """import torch


def validate(model: torch.nn.Module, loader):
    model.eval()
    total = 0
    for x, y in loader:
        total += (model(x) == y).sum()
    return total
"""


def _of(text: str, path: str = "a.py") -> list[str]:
    found = lint_source(text, path)
    assert found, "the example must have a finding"
    return fingerprints(found, {path: text})


def test_inserted_lines_and_comments_change_nothing() -> None:
    assert _of(BUG) == _of("# one\n\n" + BUG.replace("in loader:", "in  loader:  # all of it"))


def test_another_name_elsewhere_changes_nothing() -> None:
    assert _of(BUG) == _of(BUG.replace("total", "right"))


def test_a_moved_function_is_the_same_one() -> None:
    other = "\n\ndef add(a, b):\n    return a + b\n"
    start = BUG.index("\n\ndef")
    assert _of(BUG + other) == _of(BUG[:start] + other + BUG[start:])
    assert _of(BUG) == _of(BUG, "moved.py")


def test_a_method_of_another_class_is_the_same_one() -> None:
    def inside(name: str) -> str:
        head, body = BUG.split("\n\n\n")
        body = body.replace("(model", "(self, model", 1).replace("\n", "\n    ").rstrip()
        return f"{head}\n\n\nclass {name}:\n    {body}\n"

    assert _of(inside("Old")) == _of(inside("New"))


def test_equal_bugs_are_told_apart() -> None:
    twice = BUG.replace("    return total\n", "    for x, y in loader:\n        total += (model(x) == y).sum()\n    return total\n")
    found = _of(twice)
    assert len(found) == len(set(found)) == 2
    assert found[0] == _of(BUG)[0]


def test_another_loop_is_another_bug() -> None:
    assert _of(BUG) != _of(BUG.replace("in loader:", "in loader[1:]:"))
