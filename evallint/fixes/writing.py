"""Writing: statements put before, around and after others, by LibCST, so that all else stays as it is, byte for byte."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import libcst as cst

from evallint.source.parsing import parsed

Block = cst.Module | cst.IndentedBlock
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


@dataclass(frozen=True, slots=True)
class Change:
    """What is put around the statements of one block that begin on the lines `first` to `last`: whole statements and headers, without ends.

    `header` (`with torch.no_grad():`) gets them as its block; `final` makes it the `try` whose `finally` that is.
    """

    first: int
    last: int
    before: tuple[str, ...] = ()
    header: str = ""
    final: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def changed(text: str, change: Change) -> str | None:
    """The text with a change; None where LibCST cannot find its way in it."""
    module = _module(text)
    if module is None:
        return None
    starts = _starts(module)
    first, last = starts.get(change.first), starts.get(change.last)
    if first is None or last is None or first[0] is not last[0]:
        return None
    block, (i, j) = first[0], (first[1], last[1])
    old: list[Statement] = [*cast("Sequence[Statement]", block.body)]
    core = old[i : j + 1]
    new = [_statement(line, module) for line in change.before]
    if new or change.header or change.final:
        above = core[0].leading_lines
        core[0] = core[0].with_changes(leading_lines=())
        if change.header or change.final:
            core = [_compound(change, core, block, module)]
        new += core
        new[0] = new[0].with_changes(leading_lines=above)
    else:
        new = core
    new += [_statement(line, module) for line in change.after]
    return _with_body(module, block, [*old[:i], *new, *old[j + 1 :]]).code


def entered(text: str, line: int, last: int, header: str) -> str | None:
    """The text with the statement on `line` made a header, and those after it, up to the one that begins on `last`, its block."""
    module = _module(text)
    starts = _starts(module) if module is not None else {}
    here, end = starts.get(line), starts.get(last)
    if module is None or here is None or end is None or here[0] is not end[0]:
        return None
    block, (i, j) = here[0], (here[1], end[1])
    old: list[Statement] = [*cast("Sequence[Statement]", block.body)]
    made = old[i]
    if not isinstance(made, cst.SimpleStatementLine) or len(made.body) != 1:
        return None
    compound = _compound(Change(line, last, header=header), old[i + 1 : j + 1], block, module)
    assert isinstance(compound, cst.With)
    inner = compound.body.with_changes(header=made.trailing_whitespace)
    compound = compound.with_changes(body=inner, leading_lines=made.leading_lines)
    return _with_body(module, block, [*old[:i], compound, *old[j + 1 :]]).code


def decorated(text: str, line: int, decorator: str) -> str | None:
    """The text with a decorator right above the `def` on a line; None where LibCST cannot find its way in it."""
    module = _module(text)
    found = _starts(module).get(line) if module is not None else None
    if module is None or found is None:
        return None
    block, index = found
    body = [*block.body]
    function = body[index]
    if not isinstance(function, cst.FunctionDef):
        return None
    body[index] = function.with_changes(decorators=[*function.decorators, cst.Decorator(cst.parse_expression(decorator))])
    return _with_body(module, block, body).code


@lru_cache(maxsize=1)
def _module(text: str) -> cst.Module | None:
    try:
        module = cst.parse_module(text)
    except (cst.ParserSyntaxError, RecursionError):
        return None
    return module if module.code == text else None


@lru_cache(maxsize=1)
def _starts(module: cst.Module) -> dict[int, tuple[Block, int]]:
    """For each line on which a statement of a block begins, the block, and the statement's number in it."""
    found: dict[int, tuple[Block, int]] = {}
    waiting: list[tuple[cst.CSTNode, Sequence[ast.stmt]]] = [(module, parsed(module.code).body)]
    while waiting:
        block, statements = waiting.pop()
        rest = iter(statements)
        if not isinstance(block, (cst.Module, cst.IndentedBlock)):
            continue  # on the line of its header
        for number, statement in enumerate(block.body):
            at = next(rest)
            found[at.lineno] = block, number
            if isinstance(statement, cst.SimpleStatementLine):
                for _ in statement.body[1:]:
                    next(rest)
            else:
                waiting += _blocks(statement, at)
    return found


def _blocks(node: cst.BaseStatement, at: Any) -> Iterator[tuple[cst.CSTNode, Sequence[ast.stmt]]]:
    """The blocks inside a compound statement, with their statements as Python's own tree has them."""
    if isinstance(node, cst.Match):
        yield from ((case.body, its.body) for case, its in zip(node.cases, at.cases, strict=True))
        return
    yield cast("Any", node).body, at.body
    handlers: Sequence[Any] = getattr(node, "handlers", ())
    if handlers:
        yield from ((handler.body, its.body) for handler, its in zip(handlers, at.handlers, strict=True))
    orelse = getattr(node, "orelse", None)
    if isinstance(orelse, cst.If):
        yield from _blocks(orelse, at.orelse[0])
    elif isinstance(orelse, cst.Else):
        yield orelse.body, at.orelse
    if (final := getattr(node, "finalbody", None)) is not None:
        yield final.body, at.finalbody


def _statement(text: str, module: cst.Module) -> Statement:
    """A statement of several lines or one."""
    return cst.parse_statement(text.replace("\n", module.default_newline), config=module.config_for_parsing)


def _compound(change: Change, core: Sequence[Statement], block: Block, module: cst.Module) -> Statement:
    """The statements in a block of their own, under a header."""
    indent = block.indent if isinstance(block, cst.IndentedBlock) else None
    inner = cst.IndentedBlock([cast("Statement", statement.visit(_Blank())) for statement in core], indent=indent)
    if not change.final:
        return _statement(f"{change.header} pass", module).with_changes(body=inner)
    last = cst.Finally(cst.IndentedBlock([_statement(line, module) for line in change.final], indent=indent))
    return cst.Try(body=inner, finalbody=last)


class _Blank(cst.CSTTransformer):
    """Keeps empty lines empty, which at the margin look as if they were indented by nothing."""

    def leave_EmptyLine(self, original_node: cst.EmptyLine, updated_node: cst.EmptyLine) -> cst.EmptyLine:
        """The line without the indentation of its block, if it has no more than that."""
        empty = updated_node.comment is None and not updated_node.whitespace.value
        return updated_node.with_changes(indent=False) if empty else updated_node


def _with_body(module: cst.Module, block: Block, body: Sequence[cst.BaseStatement]) -> cst.Module:
    if isinstance(block, cst.Module):
        return block.with_changes(body=body)
    return cast("cst.Module", module.deep_replace(block, block.with_changes(body=body)))
