"""EVL003: `train()` where training goes on, or the mode put back where the evaluation ends."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import LOOPS, Code, Codes, Spot, bound_in, expression, leaves, names_in, names_of, spot_at, yields
from evallint.fixes.receivers import named
from evallint.fixes.sites import Site, is_optional, whole_statement
from evallint.fixes.writing import Change, changed

JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def proposals(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """New texts of the file, and how safe each is."""
    applicability: Applicability = "unsafe" if repair.divided else "safe"
    for text in _texts(finding, repair, code, codes):
        if text is not None:
            yield text, applicability


def _texts(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[str | None]:
    switch = spot_at(code, finding.place.line, finding.place.column)
    spots = [spot_at(code, m.spot.line, m.spot.column) for m in repair.receivers if m.spot.path == finding.place.path]
    step = spots[0] if spots and len(spots) == len(repair.receivers) else None
    models = [model for m in repair.receivers if (model := named(m, codes)) is not None]
    if len(models) < len(repair.receivers) or any(spot is None or step is None or spot.scope is not step.scope for spot in spots):
        step = None
    models = list(dict.fromkeys(models))
    if switch is None:
        if step is not None:
            yield from _where_training_begins(code, step, models, inside=False)
        return
    if step is not None and step.scope is switch.scope:
        loop = _innermost_loop(step)
        within = loop is not None and any(node is loop for node in switch.nodes)
        if not within:
            yield from _where_training_begins(code, step, models, inside=False)
        yield _at_the_end_of_its_block(code, switch, repair.switch)
        yield from _where_training_begins(code, step, models, inside=True)
        return
    yield _put_back(code, switch, repair.switch, guarded=False)
    if step is not None:
        yield from _where_training_begins(code, step, models, inside=False)
    yield _put_back(code, switch, repair.switch, guarded=True)
    if step is not None:
        yield from _where_training_begins(code, step, models, inside=True)


def _innermost_loop(spot: Spot) -> ast.AST | None:
    return next((node for node in reversed(spot.nodes) if isinstance(node, LOOPS)), None)


def _where_training_begins(code: Code, step: Spot, models: list[str], *, inside: bool) -> Iterator[str | None]:
    """`train()` before the loop that trains, or (`inside`) in it, before the statement that runs the model; without a loop, at the top."""
    loop = _innermost_loop(step)
    for number in range(len(step.steps) - 1, -1, -1):
        block, index, owner = step.steps[number]
        if owner is not loop if inside else block[index] is not loop:
            continue
        yield _training_before(code, Spot(step.scope, step.steps[: number + 1], step.nodes), models)
        return
    if loop is None:
        block, index, owner = step.steps[0]
        first = min(index, int(code.has_docstring(step.scope)))
        if not isinstance(step.scope, ast.Module):
            yield _training_before(code, Spot(step.scope, ((block, first, owner),), step.nodes), models)
        yield _training_before(code, Spot(step.scope, step.steps[:1], step.nodes), models)


def _training_before(code: Code, spot: Spot, models: list[str]) -> str | None:
    """`train()` before a statement, if the models are there by then."""
    site = whole_statement(code, spot)
    if site is None:
        return None
    later = site.block[site.first :]
    if any(names_of(m) & bound_in(later) or is_optional(m, later) for m in models):
        return None
    return changed(code.text, Change(*site.lines, before=tuple(f"{code.spelled(model)}.train()" for model in models)))


def _at_the_end_of_its_block(code: Code, switch: Spot, model: str) -> str | None:
    """`train()` as the last thing of the block that switches to eval, if that is an `if` of its own or the like."""
    at = whole_statement(code, switch)
    if at is None or expression(model) is None or isinstance(at.spot.steps[-1][2], (*LOOPS, ast.FunctionDef, ast.Module)):
        return None
    if not isinstance(at.block[at.first], ast.Expr):
        return None
    last = len(at.block) - 1
    if isinstance(at.block[last], JUMPS):
        last -= 1
    if last < at.last or leaves(at.block[at.last : last + 1]):
        return None
    return changed(code.text, Change(at.block[last].lineno, at.block[last].lineno, after=(f"{code.spelled(model)}.train()",)))


def _put_back(code: Code, switch: Spot, model: str, *, guarded: bool) -> str | None:
    """The mode kept before the `eval()` and put back where its block ends; `guarded`, whatever happens in between."""
    at = whole_statement(code, switch)
    if at is None or isinstance(switch.scope, ast.Module) or yields(switch.scope.body) or expression(model) is None:
        return None
    call = switch.statement
    if not isinstance(call, ast.Expr) or ast.unparse(call.value) not in (
        f"{model}.eval()",
        f"{model}.train(False)",
        f"{model}.train(mode=False)",
    ):
        return None
    block, last = at.block, len(at.block) - 1
    if last == at.last:
        return None
    site = Site(switch, block, at.first, last)
    guarded = guarded or any(isinstance(node, ast.Try) and node.handlers for node in switch.nodes)
    (kept,) = site.free_names([model])
    spelled = code.spelled(model)
    before, after = (f"{kept} = {spelled}.training",), (f"{spelled}.train({kept})",)
    if guarded:
        text = changed(code.text, Change(block[at.last + 1].lineno, block[last].lineno, final=after))
        return None if text is None else changed(text, Change(*at.lines, before))
    if isinstance(block[last], ast.Return) and not _runs(block[last], model):
        last -= 1
    if leaves(block[at.first : last + 1]) or names_of(model) & bound_in(block[at.first : last + 1]):
        return None
    return changed(code.text, Change(block[at.first].lineno, block[last].lineno, before, after=after))


def _runs(node: ast.stmt, model: str) -> bool:
    """Whether a statement has to do with a model, or may run one that another variable holds."""
    return bool(names_of(model) & names_in([node])) or any(isinstance(n, (ast.GeneratorExp, ast.ListComp)) for n in ast.walk(node))
