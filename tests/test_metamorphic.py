"""Changes that must not matter leave the findings of every fixture as they are; taking a protection away brings its finding."""

from __future__ import annotations

import ast
import io
import re
import shutil
import tokenize
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from evallint import lint_paths, lint_source
from evallint.finding import Finding
from evallint.settings import Settings

from .fixture_files import ALL, FIXTURES, FOLDERS, SINGLE, Fixture, Protection

_MODELS = {
    *("model", "net", "network", "classifier", "regressor", "tagger", "segmenter", "detector", "encoder", "decoder", "generator"),
    *("unet", "vae", "rnn", "mlp", "gcn", "lm", "student", "recommender", "captioner", "colorizer", "siamese", "backbone", "pets"),
    *("vit", "bert", "agent", "matcher", "policy"),
}


def _each(fixtures: tuple[Fixture, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fixture", fixtures, ids=[f.name for f in fixtures])


def _by_function(findings: list[Finding]) -> Counter[tuple[str, str]]:
    return Counter((f.code, f.function) for f in findings)


def _spots(findings: list[Finding], down: int = 0) -> set[tuple[int, int, str]]:
    """Line, column and code of each finding, `down` lines higher."""
    return {(f.place.line - down, f.place.column, f.code) for f in findings}


def _lint(fixture: Fixture, text: str) -> list[Finding]:
    return lint_source(text, str(fixture.path))


def _shifted(text: str) -> str:
    return "#!/usr/bin/env python3\n# a header that says nothing\n\n\n\n" + text


def _windows(text: str) -> str:
    return text.replace("\n", "\r\n")


_LAYOUTS: dict[str, tuple[Callable[[str], str], int]] = {"five lines lower": (_shifted, 5), "CRLF": (_windows, 0)}


@pytest.mark.parametrize("layout", _LAYOUTS)
@_each(SINGLE)
def test_layout_moves_the_lines_only(fixture: Fixture, layout: str) -> None:
    change, down = _LAYOUTS[layout]
    assert _spots(_lint(fixture, change(fixture.text())), down) == _spots(_lint(fixture, fixture.text()))


@pytest.mark.parametrize("layout", _LAYOUTS)
@_each(FOLDERS)
def test_layout_moves_the_lines_only_in_programs(fixture: Fixture, layout: str, tmp_path: Path) -> None:
    change, down = _LAYOUTS[layout]
    copy = tmp_path / fixture.path.name
    shutil.copytree(fixture.path, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file in copy.rglob("*.py"):
        file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8", newline="")
    found, usual = (
        {(Path(f.place.path).relative_to(root), *spot) for f in findings for spot in _spots([f], lower)}
        for root, findings, lower in (
            (copy, lint_paths([copy], Settings()).findings, down),
            (fixture.path, lint_paths([fixture.path], Settings()).findings, 0),
        )
    )
    assert found == usual


def _unparsed(text: str) -> str:
    return ast.unparse(ast.parse(text)) + "\n"


class _InTrivialBranches(ast.NodeTransformer):
    """Each loop becomes the body of an `if True:`."""

    def visit_For(self, node: ast.For) -> ast.If:
        self.generic_visit(node)
        return ast.If(test=ast.Constant(value=True), body=[node], orelse=[])

    def visit_While(self, node: ast.While) -> ast.If:
        self.generic_visit(node)
        return ast.If(test=ast.Constant(value=True), body=[node], orelse=[])


def _loops_in_branches(text: str) -> str:
    return ast.unparse(ast.fix_missing_locations(_InTrivialBranches().visit(ast.parse(text)))) + "\n"


@pytest.mark.parametrize("change", [_unparsed, _loops_in_branches], ids=["reformatted", "loops in `if True:`"])
@_each(SINGLE)
def test_form_does_not_matter(fixture: Fixture, change: Callable[[str], str]) -> None:
    text = fixture.text()
    assert _by_function(_lint(fixture, change(text))) == _by_function(_lint(fixture, text))


def _renamed(text: str) -> str:
    """The text with its models called otherwise, by whole tokens, wherever no outside name or text is touched."""
    tree = ast.parse(text)
    taken = {k.arg for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords}
    taken |= {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
    taken |= {part for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for part in (n.module or "").split(".")}
    taken |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and not _own(n)}
    taken |= {word for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for word in re.findall(r"\w+", ast.unparse(n))}
    names = {name for name in _MODELS - taken if f"{name}_2" not in text}
    lines = text.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for token in reversed(tokens):
        if token.type == tokenize.NAME and token.string in names:
            (row, start), (_, end) = token.start, token.end
            lines[row - 1] = f"{lines[row - 1][:start]}{token.string}_2{lines[row - 1][end:]}"
    return "".join(lines)


def _own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"


@_each(SINGLE)
def test_names_of_models_do_not_matter(fixture: Fixture) -> None:
    text = fixture.text()
    renamed = _renamed(text)
    ast.parse(renamed)
    found = Counter((f.code, re.sub(r"_2\b", "", f.function), f.place.line) for f in _lint(fixture, renamed))
    assert found == Counter((f.code, f.function, f.place.line) for f in _lint(fixture, text))


def test_most_fixtures_have_a_model_to_rename() -> None:
    assert sum(_renamed(f.text()) != f.text() for f in SINGLE) > len(SINGLE) * 0.6


def _without(text: str, line: int) -> str:
    """The text with the protection on `line` taken away; all lines stay where they are."""
    lines = text.splitlines(keepends=True)
    old = lines[line - 1]
    indent = old[: len(old) - len(old.lstrip())]
    code = old.split("# protects:")[0].strip()
    if code.startswith("with ") and code.endswith(":"):
        new = "if True:"
    elif code.startswith("@"):
        new = ""
    elif "=" not in code.split("(")[0]:
        assert isinstance(ast.parse(code).body[0], ast.Expr)
        new = "pass"
    else:
        assert code.count(".eval()") == 1
        new = code.replace(".eval()", "")
    lines[line - 1] = f"{indent}{new}\n" if new else "\n"
    return "".join(lines)


_PROTECTIONS = [(fixture, protection) for fixture in ALL for protection in fixture.protections]


@pytest.mark.parametrize(("fixture", "protection"), _PROTECTIONS, ids=[f"{p.file}:{p.line}" for _, p in _PROTECTIONS])
def test_without_its_protection_right_code_is_found(fixture: Fixture, protection: Protection, tmp_path: Path) -> None:
    copy = tmp_path / fixture.path.name
    if fixture.is_folder:
        shutil.copytree(fixture.path, copy, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(fixture.path, copy)
    changed = tmp_path / (FIXTURES / protection.file).relative_to(fixture.path.parent)
    text = _without(changed.read_text(encoding="utf-8"), protection.line)
    ast.parse(text)
    changed.write_text(text, encoding="utf-8")
    side = fixture.name.split("/")[0]
    found = {
        (f"{side}/{Path(f.place.path).relative_to(tmp_path).as_posix()}", f.place.line, f.place.column, f.code)
        for f in lint_paths([copy], Settings()).findings
    }
    appeared = {spot[3] for spot in found - fixture.expected}
    assert set(protection.codes) <= appeared, f"line {protection.line} is gone, and {protection.codes} did not appear: {found}"


def test_enough_lines_are_protected() -> None:
    assert len(_PROTECTIONS) >= 100
    assert len([1 for fixture, _ in _PROTECTIONS if fixture.name.startswith("right/")]) >= 40
