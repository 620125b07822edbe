"""Notebooks are linted cell by cell as one program, and written back with nothing but the edited lines changed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evallint import lint_paths, lint_source
from evallint.source.notebook import Notebook, read_notebook
from evallint.source.reading import Unreadable
from tests.examples import notebook

NET = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(self.drop(x))
"""
TRAIN = """\
%%time
model = Net()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for x, y in train_loader:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""
VALIDATE = """\
right = 0
with torch.no_grad():
    for x, y in val_loader:
        right += (model(x).argmax(1) == y).sum()
"""


def run(*arguments: str, cwd: Path, code: int = 1) -> str:
    """What the command line prints."""
    done = subprocess.run(
        [sys.executable, "-m", "evallint", "--no-cache", *arguments], cwd=cwd, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A folder with a notebook that validates in training mode."""
    (tmp_path / "book.ipynb").write_text(notebook(NET, TRAIN, VALIDATE), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("path", ["book.ipynb", "."])
def test_cells_are_one_program(book: Path, path: str) -> None:
    (line,) = run("--output-format", "concise", path, cwd=book).splitlines()
    assert line.startswith("book.ipynb:cell 4:3:5: EVL001 `model` is in training mode")
    assert "cell 3, line 2)" in line


def test_code_frames_show_the_cell(book: Path) -> None:
    text = run("book.ipynb", cwd=book)
    assert " --> book.ipynb:cell 4:3:5 in `<module>`" in text
    assert "3 |     for x, y in val_loader:" in text
    assert "(book.ipynb:cell 3:2:9)" in text
    assert "2 | model = Net()" in text
    assert "Found 1 finding in 1 file" in text


def test_json_tells_cell_and_line(book: Path) -> None:
    (finding,) = json.loads(run("--output-format", "json", "book.ipynb", cwd=book))["findings"]
    assert (finding["path"], finding["cell"], finding["line"], finding["column"]) == ("book.ipynb", 4, 3, 5)
    assert [(step["cell"], step["line"]) for step in finding["trail"]] == [(3, 2), (4, 3), (4, 4)]


@pytest.mark.parametrize("kind", ["sarif", "github", "gitlab", "rdjson"])
def test_programs_get_the_line_of_the_file(book: Path, kind: str) -> None:
    text = run("--output-format", kind, "book.ipynb", cwd=book)
    raw = (book / "book.ipynb").read_text(encoding="utf-8").split("\n")
    line = next(n for n, row in enumerate(raw, 1) if "for x, y in val_loader" in row)
    assert re.search(rf'"(startLine|line|begin)": {line}\b|,line={line},', text)
    assert "(cell 4, line 3)" in text


def test_junit_tells_cell_and_line(book: Path) -> None:
    assert "book.ipynb:cell 4:3:5: EVL001" in run("--output-format", "junit", "book.ipynb", cwd=book)


def test_the_answer_is_kept_with_the_notebook(book: Path) -> None:
    def cached() -> str:
        command = [sys.executable, "-m", "evallint", "--cache-dir", "kept", "."]
        return subprocess.run(command, cwd=book, capture_output=True, text=True, encoding="utf-8").stdout

    first = cached()
    assert "cell 4:3:5" in first
    assert cached() == first
    (book / "book.ipynb").write_text(notebook(NET, TRAIN, "model.eval()\n" + VALIDATE), encoding="utf-8")
    assert "No findings" in cached()


def test_comments_silence_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(notebook(NET, TRAIN, VALIDATE.replace("val_loader:", "val_loader:  # noqa: EVL001")))
    assert lint_paths([tmp_path]).findings == []


def test_a_text_is_linted_as_a_notebook_by_its_name() -> None:
    (finding,) = lint_source(notebook(NET, TRAIN, VALIDATE), "a.ipynb")
    assert (finding.place.path, finding.place.cell, finding.place.line) == ("a.ipynb", 4, 3)


def test_a_notebook_reads_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "a.ipynb").write_text(notebook("import torch\nfrom torch import nn\nfrom net import Net", TRAIN, VALIDATE))
    assert "`self.drop` (Dropout p=0.5) is active here" in run("a.ipynb", cwd=tmp_path)


@pytest.mark.parametrize(
    "before",
    [
        "%matplotlib inline",
        "!pip install x \\\n  y",
        "files = !ls",
        "pip install x",
        "torch.nn?",
        "?torch",
        "%%time\n1",
        "for i in range(3):\n    !echo {i}",
        "%timeit model(x)",
        "print(1,\n  2\n  % 3)\n%matplotlib inline",
        '"""\n%no magic\n"""\n!ls',
        "await something()",
    ],
)
def test_magics_and_shell_lines_are_set_aside(before: str) -> None:
    (finding,) = lint_source(notebook(NET, before, TRAIN, before + "\n" + VALIDATE), "a.ipynb")
    assert (finding.code, finding.place.cell, finding.place.line) == ("EVL001", 5, 3 + before.count("\n") + 1)


@pytest.mark.parametrize("cell", ["%%bash\nfor x in (", "%%html\n<b>", "%%writefile a.py\nmodel.eval()"])
def test_cells_of_other_languages_are_passed_over(cell: str) -> None:
    (finding,) = lint_source(notebook(NET, TRAIN, cell, VALIDATE), "a.ipynb")
    assert (finding.code, finding.place.cell) == ("EVL001", 5)


def test_a_broken_cell_is_told_and_the_others_are_linted() -> None:
    first, second = lint_source(notebook(NET, TRAIN, "x = (\n", VALIDATE), "a.ipynb")
    assert (first.code, first.place.cell, first.place.line) == ("EVL900", 4, 1)
    assert (second.code, second.place.cell) == ("EVL001", 5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is not valid JSON"),
        ("[1]", "it has no cells"),
        ('{"worksheets": []}', "it has no cells"),
        ('{"cells": [{"cell_type": "code", "source": [1]}]}', "the source of cell 1 is no text"),
        ("", "it is not valid JSON"),
    ],
)
def test_what_is_no_notebook_is_told(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.ipynb").write_text(text)
    (tmp_path / "b.py").write_text(NET)
    report = lint_paths([tmp_path / "a.ipynb", tmp_path / "b.py"])
    assert [(f.code, reason in f.message) for f in report.findings] == [("EVL900", True)]
    assert report.parsed == 1


@pytest.mark.parametrize("cells", [(), ("",), ("\n\n",)])
def test_a_notebook_without_code_is_clean(tmp_path: Path, cells: tuple[str, ...]) -> None:
    (tmp_path / "a.ipynb").write_text(notebook(*cells))
    assert lint_paths([tmp_path / "a.ipynb"]).findings == []


def test_other_kernels_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(notebook("library(torch)\nx <- (", language="R"))
    assert lint_paths([tmp_path / "a.ipynb"]).findings == []


# Writing back


def edited(raw: str, old: str, new: str) -> str:
    """The file after an edit of its code."""
    book = read_notebook(raw.encode())
    assert old in book.text
    return book.written(book.text.replace(old, new, 1))


STYLES: list[dict[str, Any]] = [{}, {"indent": None}, {"indent": "\t"}, {"ensure_ascii": True}, {"indent": None, "separators": (",", ":")}]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_unchanged_code_changes_nothing(style: dict[str, Any]) -> None:
    raw = notebook(NET, "é = '\\u00e9 \U0001f600'  # ü", "%%bash\n\techo", "!ls", TRAIN, "", "x = 1\n\n", **style)
    book = read_notebook(raw.encode())
    assert book.written(book.text) == raw


def test_only_the_edited_line_changes() -> None:
    raw = notebook(NET, TRAIN, VALIDATE)
    fixed = edited(raw, "with torch", "model.eval()\nwith torch")
    assert fixed == raw.replace('    "with torch', '    "model.eval()\\n",\n    "with torch')
    assert json.loads(fixed)["cells"][3]["source"][1:3] == ["model.eval()\n", "with torch.no_grad():\n"]


def test_a_line_put_behind_the_last_one() -> None:
    fixed = json.loads(edited(notebook("x = 1\ny = 2", "z = 3"), "y = 2", "y = 2\nmodel.train()"))
    assert [cell["source"] for cell in fixed["cells"][1:]] == [["x = 1\n", "y = 2\n", "model.train()"], ["z = 3"]]


def test_set_aside_lines_come_back_where_they_stand_now() -> None:
    raw = notebook("for x in y:\n    !echo a\n    z = !ls\n")
    book = read_notebook(raw.encode())
    indented = "".join(line if "cell" in line or not line.strip() else "    " + line for line in book.text.splitlines(keepends=True))
    source = "".join(json.loads(book.written(indented))["cells"][1]["source"])
    assert source == "    for x in y:\n        !echo a\n        z = !ls\n"


def test_one_string_stays_one_string() -> None:
    whole = json.loads(notebook("a = 1\nb = 2"))
    whole["cells"][1]["source"] = "a = 1\nb = 2"
    raw = json.dumps(whole)
    assert edited(raw, "b = 2", "c = 3") == raw.replace("b = 2", "c = 3")


def test_an_element_of_several_lines_stays_one() -> None:
    whole = json.loads(notebook("x"))
    whole["cells"][1]["source"] = ["a = 1\nb = 2\n", "c = 3\n", "d = 4\ne = 5"]
    raw = json.dumps(whole, indent=1)
    assert edited(raw, "c = 3", "f = 6") == raw.replace("c = 3", "f = 6")


def test_other_cells_are_refused() -> None:
    book = read_notebook(notebook(NET, TRAIN).encode())
    with pytest.raises(ValueError, match="cells"):
        book.written(read_notebook(notebook(NET).encode()).text)


def test_places_lead_to_the_file() -> None:
    raw = notebook(NET, TRAIN, "é = '\"'; right = 0\n" + VALIDATE)
    book = read_notebook(raw.encode())
    lines = raw.split("\n")
    for number, line in enumerate(book.shown.split("\n"), 1):
        if line:
            place = book.in_file(_whole_line(number, line))
            assert json.loads(f'"{lines[place.line - 1][place.column - 1 : place.end_column - 1]}"') == line


def _whole_line(number: int, line: str) -> Any:
    from evallint.finding import Place

    return Place("a.ipynb", number, 1, number, len(line) + 1)


def test_unreadable_bytes() -> None:
    with pytest.raises(Unreadable, match="0xff is not UTF-8"):
        read_notebook(b'{"cells": "\xff"}')


def test_empty_notebook_has_no_places() -> None:
    assert read_notebook(b'{"cells": []}') == Notebook('{"cells": []}')


def test_a_fix_changes_the_lines_of_its_cell_alone(tmp_path: Path) -> None:
    loop = "%%time\nright = 0\nfor x, y in val_loader:\n    right += (model(x).argmax(1) == y).sum()\n    !echo {right}\n"
    raw = notebook(NET, TRAIN, loop, "print(right)", "broken (")
    (tmp_path / "a.ipynb").write_text(raw, encoding="utf-8")
    said = run("--fix", "--output-format", "concise", "a.ipynb", cwd=tmp_path)
    assert said.startswith("a.ipynb:cell 6:1:8: EVL900")
    whole, fixed = json.loads(raw), json.loads((tmp_path / "a.ipynb").read_text(encoding="utf-8"))
    cell = fixed["cells"][3]
    assert "".join(cell["source"]) == (
        "%%time\nright = 0\nwas_training = model.training\nmodel.eval()\nwith torch.no_grad():\n    for x, y in val_loader:\n"
        "        right += (model(x).argmax(1) == y).sum()\n        !echo {right}\nmodel.train(was_training)\n"
    )
    cell["source"] = whole["cells"][3]["source"]
    assert fixed == whole
    assert "EVL001" not in run("--diff", "a.ipynb", cwd=tmp_path, code=0)
