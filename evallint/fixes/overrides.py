"""EVL204: the mode handed on to the base class, or `return self`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import Code, Codes, Scope, inside, parameters, spot_at
from evallint.fixes.writing import Change, changed


def proposals(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """New texts of the file, and how safe each is; none where the override is no switch at all."""
    if repair.sort == "dropped":
        call = code.call_at(finding.place)
        spot = spot_at(code, finding.place.line, finding.place.column)
        if call is None or spot is None or isinstance(spot.scope, ast.Module) or ast.unparse(call.func) != "super().train":
            return
        mode = _starred(spot.scope) or parameters(spot.scope)[1:2]
        if mode and not call.keywords and len(call.args) < 2:
            yield code.replaced(call, f"super().train({', '.join(mode)})"), "safe"
    elif repair.sort == "none":
        around = code.around(finding.place.line, finding.place.column)
        method = next((node for node in reversed(around) if isinstance(node, ast.FunctionDef)), None)
        if method is not None and parameters(method)[:1] == ["self"] and not any(inside(method.body, ast.Return)):
            line = method.body[-1].lineno
            text = changed(code.text, Change(line, line, after=("return self",))) if line > method.lineno else None
            if text is not None:
                yield text, "safe"


def _starred(scope: Scope) -> list[str]:
    """How a function hands on all that it is given: `*args, **kwargs`."""
    args = scope.args if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)) else None
    if args is None:
        return []
    return [f"{stars}{given.arg}" for stars, given in (("*", args.vararg), ("**", args.kwarg)) if given is not None]
