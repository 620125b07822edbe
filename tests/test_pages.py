"""The rules' pages: those in `docs/` are what the rules say today, and `evallint rules` lists them all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import evallint
from evallint.adapters.cli import main
from evallint.rules import pages, registry

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / pages.FOLDER
FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_pages_are_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "evallint.rules.pages", str(tmp_path)], cwd=ROOT, check=True)
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in DOCS.iterdir()}
    assert kept == written, "run `python -m evallint.rules.pages`"


def test_writing_twice_changes_nothing_and_pages_of_no_rule_go(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    assert sorted(pages.write(folder)) == sorted(["index.md", *(f"{code}.md" for code in registry.RULES)])
    (folder / "EVL999.md").write_text("# gone")
    (folder / "notes.md").write_text("mine")
    assert pages.write(folder) == ["EVL999.md"]
    assert pages.write(folder) == []
    assert (folder / "notes.md").read_text() == "mine"


def test_index_links_to_every_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", index)
    assert links == [f"{code}.md" for code in registry.RULES]
    assert all((DOCS / link).is_file() for link in links)


@pytest.mark.parametrize("code", registry.RULES)
def test_reported_examples_of_a_page_are_reported_and_silent_ones_are_not(code: str) -> None:
    page = (DOCS / f"{code}.md").read_text(encoding="utf-8")
    _, _, examples = page.partition("\n## Reported\n")
    reported, _, silent = examples.partition("\n## Silent\n")
    for text, speaks in ((reported, True), (silent, False)):
        blocks = FENCED.findall(text)
        assert blocks
        for block in blocks:
            found = {f.code for f in evallint.lint_source(block, "page.py")}
            assert (code in found) == speaks, block


def test_rules_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["code", "name"]
    assert [line.split()[0] for line in lines] == list(registry.RULES)
    assert "missing-eval" in lines[0]


def test_rules_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--output-format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["version"] == 1
    assert [row["code"] for row in listed["rules"]] == list(registry.RULES)
    assert all(row["page"] == registry.page(row["code"]) and row["summary"] for row in listed["rules"])


def test_bad_options_of_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--output-format", "yaml"]) == 2
    assert "yaml" in capsys.readouterr().err


def test_a_folder_called_rules_is_linted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["rules"]) == 0
    assert "0 files" in capsys.readouterr().out
