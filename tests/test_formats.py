"""The formats for programs, written by the real command line and read by the validators of other people."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest

from evallint.finding import Edit, Finding, Fix, Place, Step
from evallint.linting import Report
from evallint.report.formats import FORMATS, renderer
from evallint.report.style import Style
from evallint.rules.registry import RULES
from tests import hostile
from tests.examples import CLEAN, MISSING_EVAL, ROOT, evallint
from tests.validators import FAULTS, github_commands, sarif_faults

FIXTURES = ("fixtures/wrong", "fixtures/right")
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e\ud800-\udfff\uffff]")


def paths(path: Path) -> list[str]:
    """The path of every finding that a report tells, as the reader of its format gets it."""
    read: dict[str, Callable[[Any], list[str]]] = {
        "json": lambda report: [row["path"] for row in report["findings"]],
        "gitlab": lambda report: [row["location"]["path"] for row in report],
        "rdjson": lambda report: [row["location"]["path"] for row in report["diagnostics"]],
        "sarif": lambda report: [_sarif_path(row) for row in report["runs"][0]["results"]],
    }
    kind = path.suffix[1:]
    if kind in read:
        return read[kind](json.loads(path.read_bytes()))
    if kind == "junit":
        return [case.attrib["classname"] for case in ElementTree.parse(path).iter("testcase") if case.find("failure") is not None]
    return [row["file"] for row in github_commands(path.read_bytes().decode()) if "file" in row]


def _sarif_path(result: dict[str, Any]) -> str:
    file = result["locations"][0]["physicalLocation"]["artifactLocation"]
    return {"%SRCROOT%": "", "%FILESYSTEM%": "/"}[file["uriBaseId"]] + os.fsdecode(unquote_to_bytes(file["uri"]))


def write(folder: Path, kind: str, *arguments: str, code: int, into: Path | None = None, **changes: str) -> Path:
    """The report of the format `kind` on `arguments`, run in `folder`, in a file `into` another folder (the one above)."""
    file = (into or folder.parent) / f"report.{kind}"
    done = evallint("--output-format", kind, "--output-file", str(file), *arguments, cwd=folder, **changes)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder."""
    made = tmp_path / "work folder"
    made.mkdir()
    return made


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fixture_in_every_format(tmp_path: Path, kind: str) -> None:
    expected = paths(write(ROOT, "json", *FIXTURES, code=1, into=tmp_path))
    assert len(expected) > 100
    file = write(ROOT, kind, *FIXTURES, code=1, into=tmp_path)
    assert not FAULTS[kind](file)
    assert paths(file) == expected


@pytest.mark.parametrize("kind", FAULTS)
def test_a_report_of_nothing(folder: Path, kind: str) -> None:
    (folder / "good.py").write_text(CLEAN)
    file = write(folder, kind, "good.py", code=0)
    assert not FAULTS[kind](file)
    assert paths(file) == []
    if kind == "junit":
        assert len([*ElementTree.parse(file).iter("testcase")]) == 1, "Jenkins fails a build without any test"


@pytest.mark.parametrize("kind", FAULTS)
def test_a_report_of_a_run_that_failed(folder: Path, kind: str) -> None:
    (folder / "bad.py").write_text(MISSING_EVAL)
    file = write(folder, kind, "nowhere\n::error::", "bad.py", code=2)
    assert not FAULTS[kind](file)
    assert paths(file) == ["bad.py"]
    if kind in ("sarif", "junit", "github"):
        assert "No such file or directory" in file.read_text()
    assert not FAULTS[kind](write(folder, kind, "nowhere", code=2))


@pytest.mark.parametrize("kind", FAULTS)
def test_hostile_names_and_contents(folder: Path, kind: str) -> None:
    count = hostile.write(folder)
    file = write(folder, kind, ".", code=1)
    assert not FAULTS[kind](file)
    found = paths(file)
    assert len(found) == len(set(found)) == count
    if kind == "sarif":
        assert {os.fsencode(path) for path in found} == set(os.listdir(os.fsencode(folder)))
    if kind in ("junit", "github"):
        assert not STEERING.search(file.read_bytes().decode())
    if kind in ("gitlab", "rdjson"):
        assert {"line\n::error::break.py", "rtl\u202egpj.py", "bytes\\xff\\xfe.py", "a%0Ab%25.py"} <= set(found)
    if kind == "github":
        assert {"line\n::error::break.py", "return\rback.py", "a,b:c=d.py", "a%0Ab%25.py", "::error file=x::boom.py"} <= set(found)


def test_hostile_names_and_contents_as_json(folder: Path) -> None:
    count = hostile.write(folder)
    text = write(folder, "json", ".", code=1).read_text()
    assert "\\ud" not in text, "strict readers refuse half a surrogate pair"
    assert len({row["path"] for row in json.loads(text)["findings"]}) == count


@pytest.mark.parametrize("kind", ["full", "concise"])
def test_hostile_names_and_contents_on_a_terminal(folder: Path, kind: str) -> None:
    count = hostile.write(folder)
    done = evallint("--output-format", kind, ".", "nowhere\n\x1b[31m::error::", cwd=folder)
    assert done.returncode == 2
    assert not STEERING.search(done.stdout + done.stderr)
    assert not [line for line in done.stdout.split("\n") + done.stderr.split("\n") if line.lstrip().startswith("::")]
    assert len(re.findall(r"EVL\d+ .*\n +-->" if kind == "full" else r": EVL\d+ ", done.stdout)) == count
    assert "bytes\\xff\\xfe.py:15:9" in done.stdout
    assert done.stderr == "evallint: error: nowhere␊␛[31m::error::: No such file or directory\n"


def test_the_rules_of_code_scanning_are_on(tmp_path: Path) -> None:
    file = tmp_path / "report.sarif"
    report = json.loads(renderer("sarif")(Report([_finding()]), Style()))
    del report["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]
    file.write_text(json.dumps(report))
    assert "GH1003" in "".join(sarif_faults(file))


def _finding(**changes: Any) -> Finding:
    values: dict[str, Any] = {
        "place": Place("val.py", 2, 3, 3, 5),
        "code": "EVL001",
        "name": "missing-eval",
        "message": "`nets[0](x)` here",
        "severity": "note",
        "function": "validate",
        "trail": (Step(Place("val.py", 1, 6, 1, 9), "`名` here"),),
        "fix": Fix("unsafe", (Edit(2, 3, 2, 3, "é.eval()\n"), Edit(3, 1, 3, 1, "  "))),
    }
    return Finding(**{**values, **changes})


TEXT = "é名 = 名(x)\né.train()\n  名(x)\n"


def _render(kind: str, tmp_path: Path, **changes: Any) -> Any:
    """The report of one finding as the format's reader gets it, after the validator has passed it."""
    file = tmp_path / "report"
    file.write_text(renderer(kind)(Report([_finding(**changes)], files=1, parsed=1, texts={"val.py": TEXT}), Style()), encoding="utf-8")
    assert not FAULTS[kind](file)
    return github_commands(file.read_text(encoding="utf-8")) if kind == "github" else json.loads(file.read_bytes())


def test_sarif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (run,) = _render("sarif", tmp_path)["runs"]
    driver = run["tool"]["driver"]
    (result,) = run["results"]
    rule = driver["rules"][result["ruleIndex"]]
    assert (driver["name"], rule["id"], rule["name"], rule["defaultConfiguration"]) == (
        "evallint",
        "EVL001",
        "missing-eval",
        {"level": "warning"},
    )
    assert rule["help"]["markdown"] == evallint("rule", "EVL001", cwd=tmp_path).stdout
    assert [each["id"] for each in driver["rules"]] == [*RULES, "EVL900"]
    assert run["originalUriBaseIds"] == {"%SRCROOT%": {"uri": tmp_path.as_uri() + "/"}, "%FILESYSTEM%": {"uri": "file:///"}}
    assert run["columnKind"] == "unicodeCodePoints"
    assert (result["level"], result["message"]["text"]) == ("note", "`nets[0] (x)` here"), "no text may become a link"
    where = {"uri": "val.py", "uriBaseId": "%SRCROOT%"}
    region = {"startLine": 2, "startColumn": 3, "endLine": 3, "endColumn": 5, "snippet": {"text": "train()\n  名("}}
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"], place["region"]) == (where, region)
    (flow,) = result["codeFlows"][0]["threadFlows"]
    assert [step["location"]["message"]["text"] for step in flow["locations"]] == ["`名` here"]
    assert re.fullmatch("[0-9a-f]{32}", result["partialFingerprints"]["evallintFingerprint/v1"])
    (change,) = result["fixes"][0]["artifactChanges"]
    assert change["artifactLocation"] == where
    assert [each["insertedContent"]["text"] for each in change["replacements"]] == ["é.eval()\n", "  "]
    assert result["properties"] == {"confidence": "high", "function": "validate", "model": ""}


def test_rdjson_counts_bytes(tmp_path: Path) -> None:
    (row,) = _render("rdjson", tmp_path)["diagnostics"]
    assert row["severity"] == "INFO"
    assert row["location"] == {"path": "val.py", "range": {"start": {"line": 2, "column": 4}, "end": {"line": 3, "column": 7}}}
    (related,) = row["related_locations"]
    assert related["location"]["range"] == {"start": {"line": 1, "column": 9}, "end": {"line": 1, "column": 14}}
    assert [(each["range"]["start"], each["text"]) for each in row["suggestions"]] == [
        ({"line": 2, "column": 4}, "é.eval()\n"),
        ({"line": 3, "column": 1}, "  "),
    ]


def test_github_has_columns_on_one_line_alone(tmp_path: Path) -> None:
    (row,) = _render("github", tmp_path)
    assert row == {
        "level": "notice",
        "title": "evallint (EVL001)",
        "file": "val.py",
        "line": "2",
        "endLine": "3",
        "message": "val.py:2:3: EVL001 `nets[0](x)` here",
    }
    (row,) = _render("github", tmp_path, place=Place("val.py", 2, 3, 2, 8), severity="error")
    assert (row["level"], row["col"], row["endLine"], row["endColumn"]) == ("error", "3", "2", "8")


def test_gitlab(tmp_path: Path) -> None:
    severities = [_render("gitlab", tmp_path, severity=severity)[0]["severity"] for severity in ("note", "warning", "error")]
    assert severities == ["info", "major", "critical"]
    (row,) = _render("gitlab", tmp_path)
    assert (row["description"], row["location"]["lines"]) == ("EVL001 `nets[0](x)` here", {"begin": 2, "end": 3})


@pytest.mark.parametrize(
    ("kind", "variable"), [("gitlab", "CI_PROJECT_DIR"), ("github", "GITHUB_WORKSPACE"), ("sarif", "GITHUB_WORKSPACE")]
)
def test_paths_are_seen_from_the_project(folder: Path, kind: str, variable: str) -> None:
    (folder / "src" / "deep").mkdir(parents=True)
    for name in ("src/a.py", "src/deep/b.py", "c.py"):
        (folder / name).write_text(MISSING_EVAL)

    def told(top: Path) -> list[str]:
        file = write(folder / "src", kind, ".", "../c.py", str(folder / "src" / "deep" / "b.py"), code=1, **{variable: str(top)})
        assert not FAULTS[kind](file)
        return paths(file)

    assert told(folder) == ["c.py", "src/a.py", "src/deep/b.py"]
    assert told(folder / "src" / "deep") == [str(folder / "c.py"), "a.py", "deep/b.py"], "the working folder is not in that one"


def test_a_linked_project_folder_is_the_same_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    (folder / "a.py").write_text(MISSING_EVAL)
    assert paths(write(folder, "gitlab", str(tmp_path / "link" / "a.py"), code=1)) == ["a.py"]


def test_standard_input_in_every_format(folder: Path) -> None:
    for kind in FAULTS:
        done = evallint("--output-format", kind, "-", cwd=folder, stdin=MISSING_EVAL.encode())
        file = folder / f"report.{kind}"
        file.write_text(done.stdout)
        assert (done.returncode, paths(file)) == (1, ["<stdin>"])


def test_fingerprints_outlive_lines_put_in_above(folder: Path) -> None:
    def marks() -> list[str]:
        (result,) = json.loads(write(folder, "sarif", ".", code=1).read_bytes())["runs"][0]["results"]
        (row,) = json.loads(write(folder, "gitlab", ".", code=1).read_bytes())
        return [result["partialFingerprints"]["evallintFingerprint/v1"], row["fingerprint"]]

    (folder / "a.py").write_text(MISSING_EVAL)
    before = marks()
    (folder / "a.py").write_text("# above\n\n" + MISSING_EVAL)
    assert marks() == before


def test_help_names_the_formats(folder: Path) -> None:
    shown = " ".join(evallint("--help", cwd=folder).stdout.split())
    assert f"full (default), {', '.join(list(FORMATS)[1:])}" in shown
