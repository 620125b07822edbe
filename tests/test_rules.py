"""Each rule against the examples of its own page, and the pages' shape."""

from __future__ import annotations

import ast
import inspect
import io
import re
import subprocess
import sys
import tokenize

import pytest

import evallint
from evallint.rules import registry
from evallint.rules.base import Rule

SECTIONS = (
    "What it does",
    "Why is this bad?",
    "Example",
    "Use instead",
    "When it is right to ignore it",
    "How it decides",
    "Fix safety",
    "References",
    "Reported",
    "Silent",
)
MARK = re.compile(r"(EVL\d{3}): (\d+)")
FENCED = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RULES = tuple(registry.RULES.values())


def examples(kind: str) -> list[object]:
    """Every example of a kind, as a pytest parameter that is named by its rule and number."""
    return [
        pytest.param(rule, text, id=f"{rule.code}-{kind}-{number}")
        for rule in RULES
        for number, text in enumerate(getattr(rule, kind.upper()), start=1)
    ]


def expected(source: str) -> list[tuple[int, int, str]]:
    """(line, column, code) of every mark in a comment of `source`."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            found += [(token.start[0], int(column), code) for code, column in MARK.findall(token.string)]
    return sorted(found)


def reported(source: str) -> list[tuple[int, int, str]]:
    """(line, column, code) of every finding in `source`."""
    return sorted((f.place.line, f.place.column, f.code) for f in evallint.lint_source(source, "example.py"))


@pytest.mark.parametrize(("rule", "source"), examples("valid"))
def test_valid_example_is_silent(rule: type[Rule], source: str) -> None:
    assert expected(source) == []
    assert reported(source) == []


@pytest.mark.parametrize(("rule", "source"), examples("invalid"))
def test_invalid_example_speaks(rule: type[Rule], source: str) -> None:
    marks = expected(source)
    assert rule.code in {code for _, _, code in marks}, "an example of a rule must be reported by it"
    assert reported(source) == marks


@pytest.mark.parametrize(("rule", "source"), [*examples("valid"), *examples("invalid")])
def test_example_parses_and_says_what_it_shows(rule: type[Rule], source: str) -> None:
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    assert source == source.strip("\n") + "\n"
    assert max(map(len, source.splitlines())) <= 120


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_findings_carry_what_the_reports_need(rule: type[Rule]) -> None:
    for source in rule.INVALID:
        for finding in evallint.lint_source(source, "example.py"):
            assert finding.name == registry.RULES[finding.code].name
            assert finding.place.path == "example.py"
            assert finding.message and "\n" not in finding.message
            assert finding.trail
            assert finding.model


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_page(rule: type[Rule]) -> None:
    page = registry.page(rule.code)
    assert page.startswith(f"# {rule.name} ({rule.code})\n\n## What it does\n")
    outside = FENCED.sub("", page)
    assert tuple(re.findall(r"^## (.+)$", outside, re.MULTILINE)) == SECTIONS
    bodies = re.split(r"^## .+$", page, flags=re.MULTILINE)[1:]
    assert all(body.strip() for body in bodies)
    assert re.search(r"\d", bodies[SECTIONS.index("Why is this bad?")]), "a measured figure"
    assert "https://pytorch.org/docs/" in bodies[SECTIONS.index("References")]
    blocks = FENCED.findall(page)
    assert len(blocks) == 2 + len(rule.VALID) + len(rule.INVALID)
    for block in blocks:
        ast.parse(block)
    assert max(map(len, page.splitlines())) <= 140


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_class(rule: type[Rule]) -> None:
    assert re.fullmatch(r"EVL\d{3}", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    assert rule.summary and not rule.summary.endswith(".")
    assert len(rule.VALID) >= 8
    assert len(rule.INVALID) >= 8
    assert inspect.getfile(rule).endswith(f"/{rule.name.replace('-', '_')}.py")


def test_registry() -> None:
    assert [rule.code for rule in registry.rules()] == sorted(registry.RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert registry.find("evl001") is registry.find("missing-eval") is registry.RULES["EVL001"]


@pytest.mark.parametrize("wanted", ["EVL01", "missing-evl", "EVL999", ""])
def test_unknown_rule(wanted: str) -> None:
    with pytest.raises(KeyError) as caught:
        registry.page(wanted)
    assert isinstance(caught.value, registry.UnknownRule)
    assert "EVL001" in str(caught.value)


def test_registry_does_without_libcst() -> None:
    code = "import sys, evallint.rules.registry as r; r.page('EVL001'); print({'libcst', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
