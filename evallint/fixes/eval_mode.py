"""EVL001: `eval()` before the evaluation, and each model's mode put back afterwards as it was."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import Code, Codes, Function, bound_in, inside
from evallint.fixes.receivers import named
from evallint.fixes.sites import Site, asked_on_the_way, sites
from evallint.fixes.writing import Change, changed


def proposals(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """New texts of the file, and how safe each is."""
    receivers = [named(model, codes) for model in repair.receivers]
    models = [receiver for receiver in dict.fromkeys(receivers) if receiver is not None]
    if len(models) < len(set(receivers)) or not models or any(asked_on_the_way(model, codes) for model in repair.receivers):
        return
    for site in sites(code, finding.place, models, repair.receivers):
        if site.waits():
            continue
        plain = repair.untrained and all(_is_own(model, site) for model in models)
        text = changed(code.text, _plain(site, models) if plain else _restoring(site, models))
        if text is not None:
            yield text, "unsafe" if repair.divided and not plain else "safe"


def _plain(site: Site, models: Sequence[str]) -> Change:
    return Change(*site.lines, before=tuple(f"{model}.eval()" for model in models))


def _restoring(site: Site, models: Sequence[str]) -> Change:
    kept = site.free_names(models)
    before = [f"{name} = {model}.training" for name, model in zip(kept, models, strict=True)]
    before += [f"{model}.eval()" for model in models]
    after = tuple(f"{model}.train({name})" for name, model in zip(kept, models, strict=True))
    if site.leaves():
        return Change(*site.lines, tuple(before), final=after)
    return Change(*site.lines, tuple(before), after=after)


def _is_own(model: str, site: Site) -> bool:
    """Whether a model is made in the function and never leaves it, or belongs to a script: then nobody sees what mode it is left in."""
    if not model.isidentifier():
        return False
    if isinstance(site.scope, ast.Module):
        return True
    return model in bound_in(site.scope.body) and not _is_handed_on(model, site.scope)


def _is_handed_on(model: str, function: Function) -> bool:
    """Whether a variable is used for anything but calls of it and of its methods."""
    used = {id(node.func) for node in inside(function.body, ast.Call, nested=True) if isinstance(node, ast.Call)}
    used |= {id(node.value) for node in inside(function.body, ast.Attribute, nested=True) if isinstance(node, ast.Attribute)}
    loads = (node for node in inside(function.body, ast.Name, nested=True) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return any(node.id == model and id(node) not in used for node in loads)
