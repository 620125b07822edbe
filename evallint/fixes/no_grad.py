"""EVL002: `torch.no_grad()` around the evaluation, or above the function that does nothing else, as the file's imports spell it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import NEEDING_GRADIENTS, Code, Codes, attributes_in, names_in, spot_at, yields
from evallint.fixes.receivers import named
from evallint.fixes.sites import sites
from evallint.fixes.writing import Change, changed, decorated

PLAIN = frozenset(("staticmethod", "classmethod"))
RUN_BY_OTHERS = frozenset("forward __call__ __init__ training_step validation_step test_step predict_step configure_optimizers".split())
"""Methods that serve training as well, or in which a library sees to recording."""
NEEDING = NEEDING_GRADIENTS | {"inference_mode", "no_grad"}
"""Names in functions that have to do with graphs themselves."""


def proposals(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """New texts of the file, and how safe each is."""
    spot = spot_at(code, finding.place.line, finding.place.column)
    if spot is None:
        return
    applicability: Applicability = "unsafe" if repair.shared else "safe"
    above, spelling = code.no_grad(code.tree), code.no_grad(spot.scope, finding.place.line)
    whole = repair.whole and not repair.both and len(spot.steps) <= 2
    if whole and above is not None and isinstance(spot.scope, ast.FunctionDef) and _can_be_decorated(spot.scope, code):
        text = decorated(code.text, spot.scope.lineno, above)
        if text is not None:
            yield text, applicability
    if spelling is None:
        return
    receivers = [receiver for model in repair.receivers if (receiver := named(model, codes)) is not None]
    for site in sites(code, finding.place, receivers, repair.receivers):
        header = f"with {spelling}:"
        if repair.both:
            flag, torch = (
                site.flag(),
                next((name for name, means in code.torch_names(spot.scope, finding.place.line).items() if means == "torch"), None),
            )
            if flag is None or torch is None:
                return
            header = f"with {torch}.set_grad_enabled({code.spelled(flag)}):"
        text = None if site.waits() else changed(code.text, Change(*site.lines, header=header))
        if text is not None:
            yield text, applicability


def _can_be_decorated(function: ast.FunctionDef, code: Code) -> bool:
    """Whether nothing in a function, or around it, minds that recording is off for all of it."""
    own = all(isinstance(d, ast.Name) and d.id in PLAIN for d in function.decorator_list)
    if not own or function.name in RUN_BY_OTHERS or yields(function.body):
        return False
    around = code.around(function.lineno, code.column(function))[1:-1]
    if not all(isinstance(node, ast.ClassDef) for node in around if node is not function):
        return False
    return not NEEDING & (attributes_in(function.body) | names_in(function.body))
