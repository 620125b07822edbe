"""The files around one file: who imports it and what it imports, and what a file alone is told through them."""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evallint import Finding, Settings, analysis, lint_paths
from evallint.adapters import flake8_plugin
from evallint.analysis import analyse
from evallint.source import neighbours
from evallint.source.file import Source
from evallint.source.naming import program_names
from evallint.source.neighbours import imported, importers
from tests.examples import NO_TORCH, evallint, run


@pytest.fixture(autouse=True)
def _fresh() -> None:
    neighbours.forget()


def _project(folder: Path, files: dict[str, str]) -> Path:
    """Write the files of a project below `folder`, whose parent is none of its own."""
    (folder / ".git").mkdir(parents=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _importers(folder: Path, name: str) -> set[str]:
    return {Path(path).relative_to(folder).as_posix() for path in importers(str(folder / name))}


def _imported(folder: Path, name: str) -> list[str]:
    return [Path(path).relative_to(folder).as_posix() for path in imported(str(folder / name))]


# Who imports a file


@pytest.mark.parametrize(
    "statement",
    [
        "from pkg.steps import validate",
        "from pkg.steps import (\n    train,  # one (of two\n    validate as check,\n)",
        "from pkg import steps",
        "from pkg import losses, \\\n    steps",
        "import pkg.steps",
        "import os, pkg.steps as s",
        "    from pkg.steps import *  # late",
        "try: from pkg.steps import validate\nexcept ImportError: pass",
        "import os; import pkg.steps",
        "from pkg.steps import validate\r",
        "from .pkg.steps import validate",
    ],
)
def test_spellings(tmp_path: Path, statement: str) -> None:
    folder = _project(tmp_path / "p", {"pkg/__init__.py": "", "pkg/steps.py": "", "pkg/losses.py": "", "main.py": statement + "\n"})
    assert _importers(folder, "pkg/steps.py") == {"main.py"}
    assert "pkg/steps.py" in _imported(folder, "main.py")


@pytest.mark.parametrize(
    "statement",
    ["from pkg.other import steps_of", "import steps_of", "from torch import steps", "important = pkg.steps", "# import pkg.steps", ""],
)
def test_what_is_no_import_of_it(tmp_path: Path, statement: str) -> None:
    folder = _project(tmp_path / "p", {"pkg/__init__.py": "", "pkg/steps.py": "", "main.py": statement + "\n"})
    assert _importers(folder, "pkg/steps.py") == set()


def test_package(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/sub/__init__.py": "",
        "pkg/sub/steps.py": "",
        "pkg/sub/near.py": "from .steps import validate",
        "pkg/above.py": "from .sub import steps",
        "pkg/far/__init__.py": "",
        "pkg/far/off.py": "from ..sub.steps import validate",
        "pkg/far/steps.py": "",
        "pkg/far/other.py": "from .steps import validate",
        "main.py": "from pkg.sub.steps import validate",
    }
    folder = _project(tmp_path / "p", files)
    assert _importers(folder, "pkg/sub/steps.py") == {"pkg/sub/near.py", "pkg/above.py", "pkg/far/off.py", "main.py"}
    assert _importers(folder, "pkg/far/steps.py") == {"pkg/far/other.py"}
    assert importers(str(folder / "pkg/sub/steps.py"))[0].endswith("near.py"), "the nearest comes first"


@pytest.mark.parametrize("marker", [".git", "pyproject.toml", None])
def test_src_layout_and_scripts_beside_packages(tmp_path: Path, marker: str | None) -> None:
    files = {
        "src/pkg/__init__.py": "",
        "src/pkg/steps.py": "",
        "train.py": "from pkg.steps import validate",
        "scripts/eval.py": "import pkg.steps",
        "scripts/plain.py": "import os",
    }
    folder = _project(tmp_path / "p", files)
    if marker != ".git":
        (folder / ".git").rmdir()
    if marker == "pyproject.toml":
        (folder / marker).write_text("")
    # without a project's mark, only the folders above are looked at
    assert _importers(folder, "src/pkg/steps.py") == ({"train.py", "scripts/eval.py"} if marker else {"train.py"})
    assert _imported(folder, "train.py")[0] == "src/pkg/steps.py"


def test_flat_scripts(tmp_path: Path) -> None:
    files = {
        "steps.py": "",
        "train.py": "import steps",
        "utils/helpers.py": "from steps import validate",
        "main.py": "from utils import helpers",
    }
    folder = _project(tmp_path / "p", files)
    assert _importers(folder, "steps.py") == {"train.py", "utils/helpers.py"}
    assert _importers(folder, "utils/helpers.py") == {"main.py"}


def test_through_the_package(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "from .core import *\nfrom .net import Net",
        "pkg/core/__init__.py": "from .steps import validate as check",
        "pkg/core/steps.py": "",
        "pkg/net.py": "",
        "main.py": "from pkg import check",
        "other.py": "from pkg.core import unrelated",
    }
    folder = _project(tmp_path / "p", files)
    assert _importers(folder, "pkg/core/steps.py") == {"pkg/__init__.py", "pkg/core/__init__.py", "main.py"}
    assert _imported(folder, "main.py") == ["pkg/__init__.py", "pkg/core/__init__.py", "pkg/core/steps.py", "pkg/net.py"]


def test_another_project_is_not_looked_at(tmp_path: Path) -> None:
    files = {"inner/pkg/__init__.py": "", "inner/pkg/steps.py": "", "main.py": "from inner.pkg.steps import validate"}
    folder = _project(tmp_path / "p", files)
    assert _importers(folder, "inner/pkg/steps.py") == {"main.py"}
    (folder / "inner" / "pyproject.toml").write_text("")
    neighbours.forget()
    neighbours._project.cache_clear()
    assert _importers(folder, "inner/pkg/steps.py") == set()


def test_excludes_hold(tmp_path: Path) -> None:
    use = "from pkg.steps import validate"
    files = {
        "pkg/steps.py": "",
        "build/a.py": use,
        "old/b.py": use,
        ".hidden/c.py": use,
        "venv/d.py": use,
        "kept/e.py": use,
        "kept/f.txt": use,
    }
    folder = _project(tmp_path / "p", files)
    (folder / "pyproject.toml").write_text('[tool.evallint]\nextend-exclude = ["old"]\n')
    assert _importers(folder, "pkg/steps.py") == {"kept/e.py"}


# What a file imports


def test_one_more_level_down(tmp_path: Path) -> None:
    files = {
        "a.py": "import torch\nfrom b import x",
        "b.py": "import c",
        "c.py": "import d",
        "d.py": "",
    }
    assert _imported(_project(tmp_path / "p", files), "a.py") == ["b.py", "c.py"]


def test_a_circle(tmp_path: Path) -> None:
    folder = _project(tmp_path / "p", {"a.py": "import b, a", "b.py": "import c", "c.py": "import a"})
    assert (_imported(folder, "a.py"), _importers(folder, "a.py")) == (["b.py", "c.py"], {"c.py"})


# Limits


def test_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"steps.py": "", **{f"use{n:03}.py": "import steps" for n in range(50)}}
    files["all.py"] = "\n".join(f"import use{n:03}" for n in range(50))
    folder = _project(tmp_path / "p", files)
    assert len(importers(str(folder / "steps.py"))) == neighbours.MOST == len(imported(str(folder / "all.py")))
    monkeypatch.setattr(neighbours, "MOST_FILES", 20)
    neighbours.forget()
    # `all.py` and the first `use…` files; what is imported is found on the disk as well
    assert len(importers(str(folder / "steps.py"))) < 20
    assert len(imported(str(folder / "all.py"))) == neighbours.MOST


def test_a_big_project_is_searched_from_near_to_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MOST_FILES", 10)
    files = {f"a{n}/x{k}.py": "import steps" for n in range(20) for k in range(5)}
    files |= {"zoo/core/steps.py": "", "zoo/core/near.py": "from steps import f", "zoo/main.py": "from core.steps import f"}
    files |= {"far/models.py": "", "zoo/core/user.py": "from far.models import Net"}
    folder = _project(tmp_path / "p", files)
    assert {"zoo/core/near.py", "zoo/main.py"} <= _importers(folder, "zoo/core/steps.py")
    assert _imported(folder, "zoo/core/user.py") == ["far/models.py"]


@pytest.mark.parametrize("path", ["", "-", "<stdin>", "stdin", "no/such/file.py", "nul\0.py", "folder", "x.ipynb"])
def test_paths_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert (importers(path), imported(path)) == ([], [])


def test_what_cannot_be_read_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _project(tmp_path / "p", {"steps.py": "", "locked.py": "import steps", "open.py": "import steps, locked", "shut/x.py": ""})
    really_open, really_scan = Path.open, os.scandir

    def open_file(path: Path, *arguments: Any) -> Any:
        if path.name == "locked.py":
            raise PermissionError(13, "Permission denied")
        return really_open(path, *arguments)

    def scan(path: str) -> Any:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return really_scan(path)

    monkeypatch.setattr(Path, "open", open_file)
    monkeypatch.setattr(os, "scandir", scan)
    assert _importers(folder, "steps.py") == {"open.py"}
    assert _imported(folder, "locked.py") == []


def test_odd_files(tmp_path: Path) -> None:
    folder = _project(tmp_path / "p", {"steps.py": "", "größe.py": "", "user.py": "import größe"})
    (folder / "dead.py").symlink_to(folder / "nowhere.py")
    (folder / "loop").symlink_to(folder)
    (folder / "bytes.py").write_bytes(b"\xff\xfe\0import steps\nimport steps\n")
    (folder / "open.py").write_bytes(b"from steps import (" + b"x, " * 3000)
    assert _importers(folder, "steps.py") == {"bytes.py"}
    assert _importers(folder, "größe.py") == {"user.py"}


def test_a_mistake_in_the_settings_is_no_matter_here(tmp_path: Path) -> None:
    folder = _project(tmp_path / "p", {"steps.py": "", "main.py": "import steps", "pyproject.toml": "[tool.evallint]\nselekt = []\n"})
    assert _importers(folder, "steps.py") == {"main.py"}


def test_text_that_would_take_a_naive_pattern_forever(tmp_path: Path) -> None:
    folder = _project(tmp_path / "p", {"steps.py": ""})
    (folder / "long.py").write_bytes(b"from " + b"." * 100_000 + b"\n" + b"import " + b"\\\n" * 50_000 + b"from x import (\n" * 20_000)
    start = time.monotonic()
    assert _importers(folder, "steps.py") == set()
    assert time.monotonic() - start < 10


def test_a_scan_serves_all_files_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _project(tmp_path / "p", {f"m{n}.py": f"import m{n + 1}" for n in range(10)})
    assert _importers(folder, "m1.py") == {"m0.py"}

    def refuse(*_: object) -> None:
        raise AssertionError("scanned again")

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(neighbours, "_targets", refuse)
    assert _importers(folder, "m5.py") == {"m4.py"}


# How files are called


def test_answers_are_written_as_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _project(
        tmp_path / "p", {"pkg/__init__.py": "", "pkg/steps.py": "", "pkg/a.py": "from . import steps", "main.py": "import pkg.steps"}
    )
    monkeypatch.chdir(folder)
    assert importers("pkg/steps.py") == ["pkg/a.py", "main.py"]
    assert importers(f".{os.sep}pkg/steps.py") == ["pkg/a.py", "main.py"]
    monkeypatch.chdir(folder / "pkg")
    assert importers("steps.py") == ["a.py", os.path.join("..", "main.py")]
    (tmp_path / "link").symlink_to(folder / "pkg")
    assert importers(str(tmp_path / "link" / "steps.py")) == [str(tmp_path / "link" / "a.py"), str((folder / "main.py").resolve())]


def test_program_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _project(tmp_path / "p", {"pkg/__init__.py": "", "pkg/steps.py": "", "main.py": ""})
    monkeypatch.chdir(folder)
    assert program_names(["main.py", "pkg/steps.py"]) == {}
    monkeypatch.chdir(folder / "pkg")
    assert program_names([str(folder / "main.py")]) == {}
    names = {"steps.py": os.path.join("pkg", "steps.py"), "../main.py": "main.py"}
    assert program_names(["steps.py", "../main.py"]) == names
    assert program_names(["steps.py"]) == {"steps.py": os.path.join("pkg", "steps.py")}


def test_only_files_that_are_not_read_make_one_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked: dict[str, tuple[bool, bool, bool]] = {}

    def analysed(sources: Sequence[Source], settings: Settings, cache: object = None) -> list[Finding]:
        marked.update({Path(s.path).name: (s.context, s.helper, s.imported) for s in sources})
        return []

    monkeypatch.setattr(analysis, "analyse", analysed)
    files = {f"m{n}.py": f"import torch\nimport m{n + 1}\n" for n in range(6)}
    files |= {"m4.py": "import torch\nimport helper\n", "m5.py": "", "helper.py": "def f(model, x): return model(x)"}
    folder = _project(tmp_path / "p", files)
    lint_paths([folder / "m4.py"], Settings())
    assert marked == {
        "m2.py": (True, False, True),
        "m3.py": (True, False, False),
        "m4.py": (False, False, False),
        "helper.py": (True, True, False),
    }
    marked.clear()
    lint_paths([folder], Settings())
    assert not any(imported for _, _, imported in marked.values())


# End to end

STEPS = """\
import torch


def validate(model, val_loader):
    correct = 0
    with torch.no_grad():
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum().item()
    return correct
"""
LINE, COLUMN = 7, 9
NET = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.drop(x))
"""
MAIN = """\
import torch
from torch.nn import functional as F

from pkg.net import Net
from pkg.steps import validate


def main(train_loader, val_loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.SWITCH()
        print(validate(model, val_loader))


main([], [])
"""


def _program(folder: Path, switch: str, **more: str) -> Path:
    files = {"pkg/__init__.py": "", "pkg/net.py": NET, "pkg/steps.py": STEPS, "main.py": MAIN.replace("SWITCH", switch), **more}
    return _project(folder / "p", files)


def _spots(output: str) -> list[tuple[str, int, int, str]]:
    return [(Path(f["path"]).name, f["line"], f["column"], f["code"]) for f in json.loads(output)["findings"]]


def _flake8(*arguments: str, cwd: Path) -> str:
    done = run(sys.executable, "-m", "flake8", "--isolated", "--select", "EVL", *arguments, cwd=cwd)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize(("switch", "expected"), [("eval", []), ("train", [("steps.py", LINE, COLUMN, "EVL001")])])
def test_a_file_alone_says_what_the_folder_says(tmp_path: Path, switch: str, expected: list[tuple[str, int, int, str]]) -> None:
    folder = _program(tmp_path, switch)
    whole = json.loads(evallint("--output-format", "json", ".", cwd=folder).stdout)
    alone = json.loads(evallint("--output-format", "json", "pkg/steps.py", cwd=folder).stdout)
    assert _spots(json.dumps(whole)) == expected
    assert alone["findings"] == whole["findings"], "with the same trail"
    assert (alone["files"], alone["parsed"], alone["errors"]) == (1, 1, [])
    inside = evallint("--output-format", "json", "steps.py", cwd=folder / "pkg").stdout
    assert _spots(inside) == expected
    assert _spots(evallint("--output-format", "json", str(folder / "pkg" / "steps.py"), cwd=tmp_path).stdout) == expected
    piped = evallint("--output-format", "json", "--stdin-filename", "pkg/steps.py", "-", cwd=folder, stdin=STEPS.encode()).stdout
    assert _spots(piped) == expected


def test_the_trail_names_files_from_where_the_user_is(tmp_path: Path) -> None:
    folder = _program(tmp_path, "train")
    (finding,) = json.loads(evallint("--output-format", "json", "steps.py", cwd=folder / "pkg").stdout)["findings"]
    assert finding["path"] == "steps.py"
    assert {step["path"] for step in finding["trail"]} <= {"steps.py", os.path.join("..", "main.py")}
    assert os.path.join("..", "main.py") in {step["path"] for step in finding["trail"]}
    shown = evallint("steps.py", cwd=folder / "pkg").stdout
    assert "model.train()" in shown, "the caller's line is shown, though the caller is not linted"


def test_nothing_is_reported_of_files_around(tmp_path: Path) -> None:
    folder = _program(tmp_path, "train", **{"pkg/broken.py": "import torch\nfrom .steps import validate\ndef f(:\n"})
    report = lint_paths([folder / "pkg/net.py"], Settings())
    assert (report.findings, report.files, report.parsed, report.errors) == ([], 1, 1, [])
    assert {f.code for f in lint_paths([folder], Settings()).findings} == {"EVL001", "EVL900"}


def test_two_callers_away(tmp_path: Path) -> None:
    trainer = MAIN.replace("def main(train_loader, val_loader):\n    model = Net()", "def fit(model, train_loader, val_loader):")
    start = "import torch\nfrom pkg.net import Net\nfrom pkg.trainer import fit\n\nfit(Net(), [], [])\n"
    for switch, expected in (("eval", []), ("train", [("steps.py", LINE, COLUMN, "EVL001")])):
        folder = _program(tmp_path / switch, switch)
        (folder / "main.py").write_text(start)
        (folder / "pkg/trainer.py").write_text(trainer.replace("SWITCH", switch).replace("\n\nmain([], [])\n", ""))
        assert _spots(evallint("--output-format", "json", ".", cwd=folder).stdout) == expected
        assert _spots(evallint("--output-format", "json", "pkg/steps.py", cwd=folder).stdout) == expected


def test_files_of_other_settings_are_another_program(tmp_path: Path) -> None:
    folder = _program(tmp_path, "train")
    (folder / "pkg" / "pyproject.toml").write_text('[tool.evallint]\nignore = ["EVL002"]\n')
    whole = {(f.place.line, f.code) for f in lint_paths([folder], None).findings if f.place.path.endswith("steps.py")}
    assert {(f.place.line, f.code) for f in lint_paths([folder / "pkg/steps.py"], None).findings} <= whole


def test_a_mistake_in_a_neighbours_settings_is_not_the_files(tmp_path: Path) -> None:
    folder = _program(tmp_path, "eval", **{"tools/run.py": "import torch\nfrom pkg.steps import validate\n"})
    (folder / "tools" / "pyproject.toml").write_text("[tool.evallint]\nselekt = []\n")
    assert evallint("pkg/steps.py", cwd=folder).returncode == 0


def test_flake8_says_no_more_than_the_folder(tmp_path: Path) -> None:
    folder = _program(tmp_path, "eval")
    assert _flake8("pkg/steps.py", cwd=folder) == ""
    assert _flake8(".", cwd=folder) == ""
    assert _flake8("steps.py", cwd=folder / "pkg") == ""


def test_flake8_looks_around_only_for_files_that_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(path: str) -> list[str]:
        asked.append(path)
        return ["main.py"]

    marked: list[bool] = []

    def analysed(sources: Sequence[Source], settings: Settings, cache: object = None) -> list[Finding]:
        marked.extend(source.imported for source in sources)
        return analyse(sources, settings)

    monkeypatch.setattr(neighbours, "importers", answer)
    monkeypatch.setattr(analysis, "analyse", analysed)
    for name, text in (("plain.py", NO_TORCH), ("steps.py", STEPS)):
        (tmp_path / name).write_text(text)
        list(flake8_plugin.Plugin(ast.parse(text), str(tmp_path / name), text.splitlines(keepends=True)).run())
    assert (asked, marked) == ([str(tmp_path / "steps.py")], [True])
