"""EVL101: the parentheses that a mode call lacks, and `with` for a grad mode that is made and never entered."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import NEEDING_GRADIENTS, Code, Codes, Spot, attributes_in, names_in, spot_at, yields
from evallint.fixes.sites import trains
from evallint.fixes.writing import entered as with_header


def called(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """`model.eval()` for `model.eval`."""
    spot = _statement(finding, code)
    if spot is not None and isinstance(spot.statement, ast.Expr) and isinstance(spot.statement.value, ast.Attribute):
        yield code.surrounded(spot.statement.value, "", "()"), "safe"


def entered(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """`with torch.no_grad():` around what follows, up to the last forward."""
    spot = _statement(finding, code)
    if spot is None or not isinstance(spot.statement, ast.Expr):
        return
    block, index, _ = spot.steps[-1]
    spots = (spot_at(code, model.spot.line, model.spot.column) for model in repair.receivers)
    held = {id(node) for other in spots if other is not None and other.scope is spot.scope for node in other.nodes}
    last = max((n for n in range(index + 1, len(block)) if id(block[n]) in held), default=index)
    body = block[index + 1 : last + 1]
    if not body or trains(body) or yields(body) or NEEDING_GRADIENTS & (attributes_in(body) | names_in(body)):
        return
    made = ast.unparse(spot.statement.value)
    text = with_header(code.text, spot.statement.lineno, block[last].lineno, f"with {made.removesuffix('()')}():")
    if text is not None:
        yield text, "safe"


def _statement(finding: Finding, code: Code) -> Spot | None:
    """The statement of a finding, if the place is a statement."""
    spot = spot_at(code, finding.place.line, finding.place.column)
    return spot if spot is not None and code.starts_at(spot.statement, finding.place.line, finding.place.column) else None
