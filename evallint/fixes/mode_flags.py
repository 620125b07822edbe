"""EVL201: a functional dropout is told the mode."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import OWN_SCOPES, Code, Codes, bound_in, parameters

FLAG = "self.training"
FLAGS = ("training", "train")
RATES = ("dropout_p", "p")


def proposals(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """New texts of the file, and how safe each is."""
    call = code.call_at(finding.place)
    if call is None or not _has_self(code.around(finding.place.line, finding.place.column)):
        return
    given: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    if repair.sort == "default" and given:
        last = max(given, key=lambda node: (node.end_lineno or 0, node.end_col_offset or 0))
        lead = code.text_before(last)
        between = f",{code.newline}{lead}" if not lead.strip() else ", "
        yield code.surrounded(last, "", f"{between}training={FLAG}"), "safe"
    elif repair.sort == "always":
        flag = _keyword(call, FLAGS)
        rest = [arg for arg in call.args if isinstance(arg, ast.Constant) and arg.value is True]
        if flag is not None or len(rest) == 1:
            yield code.replaced(flag.value if flag is not None else rest[0], FLAG), "unsafe"
    elif repair.sort == "rate":
        named = _keyword(call, RATES)
        written = [arg for arg in given if repair.text and ast.unparse(arg) == repair.text]
        rate = named.value if named is not None else written[-1] if written else None
        if isinstance(rate, (ast.Name, ast.Attribute, ast.Constant, ast.Call)):
            yield code.surrounded(rate, "", f" if {FLAG} else 0.0"), "safe"
    elif repair.sort == "swapped" and len(call.args) == 2 and not call.keywords:
        yield code.surrounded(call.args[1], "training=", ""), "unsafe"


def _keyword(call: ast.Call, names: tuple[str, ...]) -> ast.keyword | None:
    return next((keyword for keyword in call.keywords if keyword.arg in names), None)


def _has_self(around: list[ast.AST]) -> bool:
    """Whether `self` is the module: the first parameter of the method around, which nothing further in hides."""
    scopes = [node for node in around if isinstance(node, OWN_SCOPES)]
    at = max((n for n, node in enumerate(scopes) if isinstance(node, ast.ClassDef)), default=len(scopes))
    methods = [node for node in scopes[at + 1 :] if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if not methods or methods[0] is not scopes[at + 1] or parameters(methods[0])[:1] != ["self"]:
        return False
    return not any("self" in {*parameters(node), *bound_in(node.body)} for node in methods[1:])
