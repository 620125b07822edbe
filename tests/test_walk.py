"""The README's walk from a bug to its repair: its commands, run in their order, print what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples import ROOT, evallint

pytest.importorskip("torch")
pytest.importorskip("sklearn")


def test_the_walk(tmp_path: Path) -> None:
    section = re.search(r"^## From the bug to its repair\n(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert section is not None
    (code,) = re.findall(r"^```python\n(.*?)^```$", section[1], re.M | re.S)
    (tmp_path / "train.py").write_text(code, encoding="utf-8")
    blocks = re.findall(r"^```console\n\$ evallint (.*?)\n(.*?)^```$", section[1], re.M | re.S)
    assert [command.split()[0] for command, _ in blocks] == ["--output-format", "run", "--diff", "--fix", "run"]
    for command, expected in blocks:
        done = evallint(*command.split(), cwd=tmp_path, EVALLINT_NO_CACHE="1")
        said = done.stdout + done.stderr
        if command.startswith("run"):  # what was measured differs from machine to machine
            said, expected = (re.sub(r"\d+(\.\d+)?", "N", text) for text in (said, expected))
            said, expected = (re.sub(r"`no_grad` saves .*", "…", text) for text in (said, expected))
        assert said == expected, command
    assert [line for line in blocks[-1][1].splitlines() if "confirmed" in line] == []
