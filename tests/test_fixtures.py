"""Every fixture gives exactly the findings written on its lines: through the Python API, the command line and flake8."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from evallint import lint_paths, lint_source
from evallint.settings import Settings

from .fixture_files import ALL, FIXTURES, FOLDERS, SINGLE, Fixture, Spot, difference, relative

REPOSITORY = FIXTURES.parent
_CODES = {"EVL001", "EVL002", "EVL003", "EVL101", "EVL102", "EVL201", "EVL202", "EVL203", "EVL204", "EVL301"}


def _each(fixtures: tuple[Fixture, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fixture", fixtures, ids=[f.name for f in fixtures])


def _environment() -> dict[str, str]:
    search = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in search if p)}


@cache
def _command_line() -> frozenset[Spot]:
    """What one run of the command line over all fixtures finds."""
    argv = [sys.executable, "-m", "evallint", "--output-format", "json", "--exit-zero", "right", "wrong"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=FIXTURES, env=_environment(), timeout=600)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["errors"] == []
    return frozenset((Path(f["path"]).as_posix(), f["line"], f["column"], f["code"]) for f in report["findings"])


@cache
def _flake8() -> frozenset[Spot]:
    """What one run of flake8 over all fixtures finds; it sees each file alone."""
    known = {p.value for p in metadata.entry_points(group="flake8.extension")}
    argv = [sys.executable, "-m", "flake8", "--select", "EVL", "--format", "%(path)s:%(row)d:%(col)d:%(code)s", "--jobs", "1"]
    if "evallint.adapters.flake8_plugin:Plugin" in known:
        argv.append("--isolated")
    else:  # a checkout that is not installed
        argv += ["--config", str(Path(__file__).with_name("flake8_from_checkout.cfg"))]
    argv += ["right", "wrong"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=FIXTURES, env=_environment(), timeout=600)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    spots = set()
    for row in done.stdout.splitlines():
        path, line, column, code = row.rsplit(":", 3)
        spots.add((Path(path).as_posix(), int(line), int(column), code))
    return frozenset(spots)


def _inside(fixture: Fixture, spots: frozenset[Spot]) -> set[Spot]:
    files = {relative(f) for f in fixture.files}
    return {spot for spot in spots if spot[0] in files}


@_each(ALL)
def test_python_api(fixture: Fixture) -> None:
    report = lint_paths([fixture.path], Settings())
    assert report.errors == []
    found = {(relative(Path(f.place.path)), f.place.line, f.place.column, f.code) for f in report.findings}
    assert len(found) == len(report.findings), f"twice the same place and code: {report.findings}"
    wrong = difference(fixture.expected, found)
    assert not wrong, wrong


@_each(SINGLE)
def test_source_text(fixture: Fixture) -> None:
    found = {(fixture.name, f.place.line, f.place.column, f.code) for f in lint_source(fixture.text(), str(fixture.path))}
    wrong = difference(fixture.expected, found)
    assert not wrong, wrong


@_each(ALL)
def test_command_line(fixture: Fixture) -> None:
    wrong = difference(fixture.expected, _inside(fixture, _command_line()))
    assert not wrong, wrong


@_each(ALL)
def test_flake8(fixture: Fixture) -> None:
    wrong = difference(fixture.expected, _inside(fixture, _flake8()), allow_fewer=fixture.is_folder)
    assert not wrong, wrong


def test_nothing_outside_the_fixtures_is_reported() -> None:
    files = {relative(file) for fixture in ALL for file in fixture.files}
    assert {spot[0] for spot in _command_line() | _flake8()} <= files


def test_every_shape_has_a_fixture() -> None:
    numbers = {f.number for f in ALL}
    assert sorted({f"{letter}{n}" for letter in "AB" for n in range(1, 28)} - numbers) == []
    assert all(f.number.startswith("A") == f.name.startswith("right/") for f in ALL)


def test_right_fixtures_are_silent_and_wrong_ones_speak() -> None:
    assert [f.name for f in ALL if bool(f.expected) != f.name.startswith("wrong/")] == []


@pytest.mark.parametrize("path", [p for f in ALL for p in f.files], ids=relative)
def test_fixture_is_well_formed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree) or not text, "a fixture starts by saying its shape in plain words"
    (fixture,) = (f for f in ALL if path in f.files)
    loops = {_start(n) for n in ast.walk(tree) if isinstance(n, ast.For | ast.While)}
    calls = {_start(n): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
    switches = {s for s, n in calls.items() if isinstance(n.func, ast.Attribute) and n.func.attr in ("eval", "train")}
    defined = {_start(n) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    lone = {_start(n) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    growing = lone | {_start(n) for n in ast.walk(tree) if isinstance(n, ast.Assign | ast.AugAssign)}
    comprehended = [n.elt for n in ast.walk(tree) if isinstance(n, ast.ListComp | ast.GeneratorExp | ast.SetComp)]
    gathered = {_start(n) for item in comprehended for n in ast.walk(item) if isinstance(n, ast.Call)}
    kept = {_start(n) for n in ast.walk(tree) if isinstance(n, ast.Assign)}
    own = {
        "EVL003": switches,
        "EVL101": lone,
        "EVL203": calls.keys() | kept,
        "EVL204": switches | defined | calls.keys() | kept,
        "EVL301": growing | gathered,
    }
    for file, line, column, code in fixture.expected:
        if file == relative(path):
            assert code in _CODES, f"{line}: no such code: {code}"
            places = own.get(code, loops | calls.keys())
            assert (line, column) in places, f"{line}: {code} is expected at column {column}, where none can be"


def _start(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset + 1


def test_folders_are_programs() -> None:
    assert FOLDERS
    assert [f.name for f in FOLDERS if len(f.files) < 2] == []
