"""What is answered after an edit, from what is in memory, is what a run from nothing answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evallint.analysis import analyse
from evallint.cache.memory import Memory
from evallint.meaning.replaying import Replaying
from evallint.rules.base import Rule
from evallint.rules.registry import RULES
from evallint.settings import Settings
from evallint.source.file import Source
from tests.bench_server import FAMILIES, training_script
from tests.editing import edited
from tests.fixture_files import FIXTURES

ROUNDS = 3
PROGRAMS = sorted(
    path for room in ("wrong", "right", "hard") for path in (FIXTURES / room).iterdir() if path.is_dir() or path.suffix == ".py"
)
SETTINGS = Settings()
BACKWARD = "        loss.backward()\n"


def sources_of(path: Path) -> list[Source]:
    """The files of a program."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [Source(str(file), file.read_text(encoding="utf-8")) for file in files]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_edits_are_answered_as_if_nothing_had_been_there_before(path: Path) -> None:
    chance = random.Random(path.name)
    memory = Memory()
    sources = sources_of(path)
    good = [sources]
    for number in range(ROUNDS):
        assert analyse(sources, SETTINGS, memory) == analyse(sources, SETTINGS), f"after {number} edits"
        if chance.random() < 0.2:
            sources = chance.choice(good)  # undone
        at = chance.randrange(len(sources))
        changed = replace(sources[at], text=edited(sources[at].text, chance))
        sources = [*sources[:at], changed, *sources[at + 1 :]]
        good = [*good[-5:], sources]


def test_branches_go_on_by_themselves() -> None:
    text = training_script()
    memory = Memory()
    first = analyse([Source("train.py", text)], SETTINGS, memory)
    branch = memory.branch()
    fixed = text.replace("    start = time.time()\n    with torch.no_grad():", "    model.eval()\n    with torch.no_grad():")
    assert fixed != text
    assert analyse([Source("train.py", fixed)], SETTINGS, branch) == analyse([Source("train.py", fixed)], SETTINGS) != first
    assert analyse([Source("train.py", text)], SETTINGS, memory) == first
    assert analyse([Source("train.py", text)], SETTINGS, branch) == first


AROUND = [
    ("loss.backward()\n", 'loss.backward()\n"""\n'),  # the rest of the file becomes a text, up to the next one
    ("loss.backward()\n", "loss.backward(\n"),
    ("loss.backward()\n", "loss.backward()\n\\\n"),
    ("    return losses.mean, top1.mean\n", "    return losses.mean, top1.mean\n\n\n@torch.no_grad()\n"),
    ("    return losses.mean, top1.mean\n", "    return losses.mean, top1.mean\n\n\n@\\\n"),
    ("    return losses.mean, top1.mean\n", "    return losses.mean, top1.mean\n\n\nif True:\n    pass\n\\\n"),
    ("def validate_", "else:\n    pass\ndef validate_"),
    ("def validate_", "  def validate_"),
    ("def validate_", "if True: pass; \\\ndef validate_"),
    ("def validate_", "x = 1; \\\ndef validate_"),
    ("def validate_", "x = (1,\n# two\n)\n# three\ndef validate_"),
    ("def main():\n", 'def main():\n    """\n'),
    ('if __name__ == "__main__":\n    main()\n', ""),
    ('if __name__ == "__main__":\n    main()\n', 'if __name__ == "__main__":\n    main()'),
    ('"""Train image', "\ufeff# first\n\x0c\n'one'\n" + '"""Train image'),
    ("\n", "\r\n"),
    ("\n\n\nclass", "\r\r\rclass"),
]


@pytest.mark.parametrize(("old", "new"), AROUND)
def test_an_edit_may_change_what_the_lines_around_it_mean(old: str, new: str) -> None:
    memory = Memory()
    text = training_script(FAMILIES[:4])
    at = text.index(old, len(text) // 2 if text.count(old) > 1 else 0)
    for changed in (text[:at] + new + text[at + len(old) :], text.replace(old, new), text):
        assert analyse([Source("train.py", text)], SETTINGS, memory)
        assert analyse([Source("train.py", changed)], SETTINGS, memory) == analyse([Source("train.py", changed)], SETTINGS)


# Only what has changed


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions, classes and files for which steps are taken, from now on."""
    names: list[str] = []
    original = Replaying.perform

    def perform(self: Replaying, key: tuple[Any, ...], step: Callable[[], None]) -> None:
        def spied() -> None:
            names.append(getattr(key[1], "name", key[1]))
            step()

        original(self, key, spied)

    monkeypatch.setattr(Replaying, "perform", perform)
    return names


def lines_of(script: str) -> tuple[list[str], int]:
    """The lines of the training script, and the one in the middle that back-propagates."""
    lines = script.splitlines(keepends=True)
    return lines, [number for number, line in enumerate(lines) if line == BACKWARD][len(FAMILIES) // 2]


@pytest.mark.parametrize("more", ["        count = 1\n", "        # why\n\n", "        print(len(images))\n"])
def test_a_new_line_in_a_function_has_its_callers_run_and_no_others(more: str, taken: list[str]) -> None:
    memory = Memory()
    lines, at = lines_of(training_script())
    analyse([Source("train.py", "".join(lines))], SETTINGS, memory)
    assert {f"run_{name.lower()}" for name in FAMILIES} < set(taken)
    taken.clear()
    lines[at + 1 : at + 1] = more
    found = analyse([Source("train.py", "".join(lines))], SETTINGS, memory)
    assert found == analyse([Source("train.py", "".join(lines))], SETTINGS)
    name = FAMILIES[len(FAMILIES) // 2].lower()
    assert taken == ["train.py", f"run_{name}"]


def test_what_only_moves_is_not_run_again(taken: list[str]) -> None:
    memory = Memory()
    script = training_script()
    before = analyse([Source("train.py", script)], SETTINGS, memory)
    taken.clear()
    after = analyse([Source("train.py", "# first\n\n" + script)], SETTINGS, memory)
    assert taken == ["train.py"]
    assert [f.place.line for f in after] == [f.place.line + 2 for f in before]


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_findings_of_every_rule_move_with_their_lines(rule: type[Rule], taken: list[str]) -> None:
    for text in rule.INVALID:
        memory = Memory()
        analyse([Source("example.py", text)], SETTINGS, memory)
        taken.clear()
        moved = [Source("example.py", "# first\n\n" + text)]
        after = analyse(moved, SETTINGS, memory)
        assert taken == ["example.py"]
        assert after == analyse(moved, SETTINGS)
        assert rule.code in {finding.code for finding in after}


def test_what_a_class_does_matters_to_those_that_use_it(taken: list[str]) -> None:
    memory = Memory()
    script = training_script()
    analyse([Source("train.py", script)], SETTINGS, memory)
    taken.clear()
    changed = script.replace("        self.module.eval()\n", "")
    assert changed != script
    assert analyse([Source("train.py", changed)], SETTINGS, memory) == analyse([Source("train.py", changed)], SETTINGS)
    assert {f"run_{name.lower()}" for name in FAMILIES} <= set(taken)


def test_other_settings_are_another_analysis(taken: list[str]) -> None:
    memory = Memory()
    sources: Sequence[Source] = [Source("train.py", training_script())]
    analyse(sources, SETTINGS, memory)
    other = replace(SETTINGS, extend_models=("critic",))
    assert analyse(sources, other, memory) == analyse(sources, other)
