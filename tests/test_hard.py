"""Files that are hard to read (SHAPES C): read right or one EVL900, never a traceback, and the rest of the run goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evallint import lint_paths, lint_source
from evallint.finding import Finding
from evallint.settings import Settings

from .examples import COLUMN, LINE, MISSING_EVAL, evallint
from .fixture_files import FIXTURES, SINGLE, Fixture

HARD = sorted((FIXTURES / "hard").glob("*.py"))
_EITHER = {"new_syntax.py"}


def _expected(text: str) -> set[tuple[int, int, str]]:
    rows = enumerate(text.split("\n"), start=1)
    return {(n, int(column), code) for n, row in rows for code, column in re.findall(r"(EVL\d{3}): (\d+)", row)}


def _spots(findings: list[Finding]) -> set[tuple[int, int, str]]:
    return {(f.place.line, f.place.column, f.code) for f in findings}


def _is_one_refusal(findings: list[Finding]) -> bool:
    if [f.code for f in findings] != ["EVL900"]:
        return False
    message = findings[0].message
    return message.startswith("cannot ") and "\n" not in message and "Traceback" not in message


@pytest.mark.parametrize("path", HARD, ids=lambda p: p.name)
def test_hard_file(path: Path) -> None:
    text = path.read_bytes().decode()
    findings = lint_paths([path], Settings()).findings
    if "# EVL900" in text or (path.name in _EITHER and findings and findings[0].code == "EVL900"):
        assert _is_one_refusal(findings), findings
    else:
        assert _spots(findings) == _expected(text)


def test_hard_files_do_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "z_last.py").write_text(MISSING_EVAL)
    (tmp_path / "a_zero.py").write_bytes(b"import torch\nx = '\0'\n")
    (tmp_path / "b_bytes.py").write_bytes("import torch\nname = 'Müller'\n".encode("latin-1"))
    done = evallint("--output-format", "json", *map(str, HARD), str(tmp_path), cwd=tmp_path)
    assert done.returncode == 1 and not done.stderr
    rows = [(Path(f["path"]).name, f["line"], f["column"], f["code"]) for f in json.loads(done.stdout)["findings"]]
    assert ("z_last.py", LINE, COLUMN, "EVL001") in rows
    refused = {name for name, _, _, code in rows if code == "EVL900"}
    assert refused - _EITHER == {"a_zero.py", "b_bytes.py", "python2.py", "async_argument.py"}


def _latin(text: str) -> bytes:
    docstring, blank, rest = text.split("\n", 2)  # the coding line takes the blank one's place
    assert not blank
    return f"# -*- coding: latin-1 -*-\n{docstring}  # Müller\n{rest}".encode("latin-1")


_ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "a byte-order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "Latin-1 with a coding line": _latin,
    "lines that end in CR LF, and a mark": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    "no newline at the end": lambda text: text.rstrip("\n").encode(),
    "a page of blanks at the end": lambda text: (text + "\n" * 50 + "    \n\t\n\f\n").encode(),
}
_SOME = [f for f in SINGLE if f.name.startswith("wrong/")][::7]


@pytest.mark.parametrize("encoding", _ENCODINGS)
@pytest.mark.parametrize("fixture", _SOME, ids=[f.name for f in _SOME])
def test_bytes_do_not_matter(fixture: Fixture, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_bytes(_ENCODINGS[encoding](fixture.text()))
    assert _spots(lint_paths([path], Settings()).findings) == _spots(lint_source(fixture.text(), "file.py"))


def _nested(opening: str, inner: str, closing: str, times: int) -> str:
    return f"NESTED = {opening * times}{inner}{closing * times}\n"


_DEEP = {
    "brackets": _nested("[", "1", "]", 150),
    "too many brackets": _nested("[", "1", "]", 5000),
    "a long sum": "TOTAL = " + " + ".join(["1"] * 5000) + "\n",
    "negations": _nested("not ", "torch", "", 1500),
    "conditional expressions": _nested("1 if torch else ", "0", "", 500),
    "lambdas": _nested("lambda: ", "1", "", 90),
    "a chain of calls": "CHAIN = torch" + ".to(1)" * 400 + "\n",
    "a chain of attributes": "CHAIN = torch" + ".nn" * 3000 + "\n",
    "elif without end": "if torch:\n    pass\n" + "".join(f"elif torch == {i}:\n    pass\n" for i in range(800)),
    "ifs in ifs": "".join("    " * i + "if torch:\n" for i in range(90)) + "    " * 90 + "pass\n",
    "functions in functions": "".join("    " * i + f"def f{i}(model):\n" for i in range(60)) + "    " * 60 + "model.eval()\n",
    "a long table": "TABLE = [\n" + "".join(f"    ({i}, 'row {i}'),\n" for i in range(4000)) + "]\n",
}


@pytest.mark.parametrize("what", _DEEP)
def test_deep_code_is_read_or_refused(what: str) -> None:
    findings = lint_source(MISSING_EVAL + _DEEP[what], "generated.py")
    assert _spots(findings) == {(LINE, COLUMN, "EVL001")} or _is_one_refusal(findings)


@pytest.mark.parametrize("what", ["brackets", "ifs in ifs", "lambdas", "a long table"])
def test_what_people_write_is_not_too_deep(what: str) -> None:
    assert _spots(lint_source(MISSING_EVAL + _DEEP[what], "generated.py")) == {(LINE, COLUMN, "EVL001")}


def test_a_generated_file_of_thirty_thousand_lines() -> None:
    table = "TABLE = [\n" + "".join(f"    {i},\n" for i in range(30_000)) + "]\n"
    assert _spots(lint_source(MISSING_EVAL + table, "generated.py")) == {(LINE, COLUMN, "EVL001")}
