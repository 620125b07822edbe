"""EVL001: `eval()` before the evaluation, and each model's mode put back afterwards as it was."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import Code, Codes, Function, bound_in, expression, inside
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
        if repair.both:
            yield from _by_the_flag(site, models, code)
            return
        for some in dict.fromkeys((tuple(models), tuple(_with_others(models, site, repair)))):
            plain = repair.untrained and all(_is_own(model, site) for model in some)
            text = changed(code.text, _plain(site, some, code) if plain else _restoring(site, some, code))
            if text is not None:
                yield text, "unsafe" if repair.divided and not plain else "safe"


def _with_others(models: Sequence[str], site: Site, repair: Repair) -> list[str]:
    """The models, and others that are called alike: `self.nets["b"]` beside `self.nets["a"]`."""
    shapes = [re.escape(m.text).replace("\\[…\\]", r"\[.+\]") for m in repair.receivers if "…" in m.text]
    calls = (ast.unparse(node.func) for node in inside(site.nodes, ast.Call) if isinstance(node, ast.Call))
    return list(dict.fromkeys([*models, *sorted(c for c in calls if expression(c) and any(re.fullmatch(s, c) for s in shapes))]))


def _by_the_flag(site: Site, models: Sequence[str], code: Code) -> Iterator[tuple[str, Applicability]]:
    """`model.train(training)`, by what the statements ask before they train; what they leave behind may be the other mode than before."""
    flag = site.flag()
    if flag is not None:
        before = tuple(f"{code.spelled(model)}.train({code.spelled(flag)})" for model in models)
        text = changed(code.text, Change(*site.lines, before=before))
        if text is not None:
            yield text, "unsafe"


def _plain(site: Site, models: Sequence[str], code: Code) -> Change:
    return Change(*site.lines, before=tuple(f"{code.spelled(model)}.eval()" for model in models))


def _restoring(site: Site, models: Sequence[str], code: Code) -> Change:
    kept, spelled = site.free_names(models), [code.spelled(model) for model in models]
    before = [f"{name} = {model}.training" for name, model in zip(kept, spelled, strict=True)]
    before += [f"{model}.eval()" for model in spelled]
    after = tuple(f"{model}.train({name})" for name, model in zip(kept, spelled, strict=True))
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
