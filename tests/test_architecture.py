"""The shape of the code: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "evallint"
LONGEST = 500
# a rule reads facts, the regions among them and the claims about these, and yields findings: plain data in, plain data out
RULES_MAY_IMPORT = (
    "evallint.events",
    "evallint.finding",
    "evallint.meaning.claims",
    "evallint.meaning.trained",
    "evallint.meaning.facts",
    "evallint.meaning.graph_claims",
    "evallint.meaning.regions",
    "evallint.meaning.values",
    "evallint.rules",
)


def module_of(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    """Whether `node` is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(module: str, *, for_types: bool) -> Iterator[str]:
    """The modules that `module` imports anywhere (also inside functions); those only for type checkers where `for_types`."""
    pending: list[ast.AST] = [ast.parse(FILES[module].read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in FILES else node.module
        elif isinstance(node, ast.If) and is_type_checking(node) and not for_types:
            pending += node.orelse
        else:
            pending += ast.iter_child_nodes(node)


def within(module: str, *packages: str) -> bool:
    """Whether `module` is one of `packages` or in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_no_import_circle() -> None:
    graph = {module: {name for name in imports(module, for_types=False) if name in FILES} for module in FILES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", FILES)
def test_only_syntax_and_fixes_import_libcst(module: str) -> None:
    if not within(module, "evallint.syntax", "evallint.fixes"):
        assert not [name for name in imports(module, for_types=True) if within(name, "libcst")]


@pytest.mark.parametrize("module", FILES)
def test_only_the_runtime_imports_torch(module: str) -> None:
    if not within(module, "evallint.runtime"):
        assert not [name for name in imports(module, for_types=True) if within(name, "torch")]


@pytest.mark.parametrize("module", [module for module in FILES if within(module, "evallint.rules")])
def test_rules_import_plain_data_alone(module: str) -> None:
    ours = [name for name in imports(module, for_types=True) if within(name, "evallint")]
    assert [name for name in ours if not within(name, *RULES_MAY_IMPORT)] == []


@pytest.mark.parametrize("module", [module for module in FILES if within(module, "evallint.cache")])
def test_the_cache_knows_plain_data_alone(module: str) -> None:
    found = list(imports(module, for_types=True))
    ours = [name for name in found if within(name, "evallint")]
    assert [name for name in ours if name != "evallint" and not within(name, "evallint.cache", "evallint.events", "evallint.finding")] == []
    assert [name for name in found if within(name, "pickle", "marshal", "shelve")] == [], "entries are data, and reading them runs nothing"


def test_nothing_before_the_rules_imports_them() -> None:
    for module in FILES:
        if within(module, *(f"evallint.{room}" for room in ("cache", "source", "syntax", "meaning", "events", "finding"))):
            assert not [name for name in imports(module, for_types=True) if within(name, "evallint.rules", "evallint.report")]
