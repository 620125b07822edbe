"""Running says of each fault that it is real; and of the fixed program that it is gone, with the figures of one that was written right."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from .examples import evallint
from .runtime_programs import PROGRAMS, execute, watched

pytest.importorskip("torch")


@dataclass(frozen=True)
class Twin:
    """A program with a fault, and what somebody wrote who knew better, as (text, text instead) of it."""

    program: str
    code: str
    right: tuple[tuple[str, str], ...]


_HEAD_OF_EPOCH = ("    model.train()\n    for epoch in range(3):\n", "    for epoch in range(3):\n        model.train()\n")
TWINS = (
    Twin("missing_eval.py", "EVL001", (("    correct = 0\n", "    correct = 0\n    model.eval()\n"),)),
    Twin("missing_no_grad.py", "EVL002", (("def validate", "@torch.no_grad()\ndef validate"),)),
    Twin("missing_train.py", "EVL003", (_HEAD_OF_EPOCH,)),
)


@pytest.mark.parametrize("model", ["cnn"])
@pytest.mark.parametrize("twin", TWINS, ids=[twin.code for twin in TWINS])
def test_a_real_fault_is_gone_and_the_figures_are_right(twin: Twin, model: str, tmp_path: Path) -> None:
    for name in ("common.py", twin.program):
        shutil.copyfile(PROGRAMS / name, tmp_path / name)
    argv = [twin.program, model]
    before = watched(argv, cwd=tmp_path)
    assert [(code, verdict) for _, code, verdict in before.said] == [(twin.code, "confirmed")], before.err

    right = (tmp_path / twin.program).read_text(encoding="utf-8")
    for text, instead in twin.right:
        assert right.count(text) == 1
        right = right.replace(text, instead)
    (tmp_path / "right.py").write_text(right, encoding="utf-8")
    wanted = execute(["right.py", model], cwd=tmp_path)
    assert (wanted.code, wanted.out == before.out) == (0, twin.code == "EVL002")  # a graph for nothing changes no figure

    assert evallint("--fix", twin.program, cwd=tmp_path).returncode == 0
    after = watched(argv, cwd=tmp_path)
    assert (after.out, after.said) == (wanted.out, frozenset()), after.err
