"""Every rule by its code, and the rules' pages."""

from __future__ import annotations

import difflib
import inspect

from evallint.rules.base import Rule
from evallint.rules.beside import PAGES
from evallint.rules.functional_dropout_ignores_mode import FunctionalDropoutIgnoresMode
from evallint.rules.graph_kept_alive import GraphKeptAlive
from evallint.rules.layer_built_in_forward import LayerBuiltInForward
from evallint.rules.missing_eval import MissingEval
from evallint.rules.missing_no_grad import MissingNoGrad
from evallint.rules.missing_train import MissingTrain
from evallint.rules.mode_call_without_effect import ModeCallWithoutEffect
from evallint.rules.submodule_hidden_from_eval import SubmoduleHiddenFromEval
from evallint.rules.train_override_breaks_mode import TrainOverrideBreaksMode
from evallint.rules.training_without_grad import TrainingWithoutGrad

_CLASSES: tuple[type[Rule], ...] = (
    MissingEval,
    MissingNoGrad,
    MissingTrain,
    ModeCallWithoutEffect,
    TrainingWithoutGrad,
    FunctionalDropoutIgnoresMode,
    LayerBuiltInForward,
    SubmoduleHiddenFromEval,
    TrainOverrideBreaksMode,
    GraphKeptAlive,
)
RULES: dict[str, type[Rule]] = {each.code: each for each in sorted(_CLASSES, key=lambda each: each.code)}


class UnknownRule(KeyError):
    """No rule has this code (or name); the message names the nearest."""

    def __init__(self, wanted: str, nearest: tuple[str, ...]) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.nearest = nearest

    def __str__(self) -> str:
        if self.nearest:
            return f"no rule {self.wanted!r}; did you mean {' or '.join(self.nearest)}?"
        return f"no rule {self.wanted!r}; the rules are {', '.join(RULES)}"


def rules() -> list[Rule]:
    """One instance of every rule, in the order of their codes."""
    return [each() for each in RULES.values()]


def find(code: str) -> type[Rule]:
    """The rule with this code or name, in either case; raises `UnknownRule`."""
    wanted = code.strip()
    for each in RULES.values():
        if wanted.upper() == each.code or wanted.lower() == each.name:
            return each
    codes = {each.code.lower(): each.code for each in RULES.values()} | {each.name: each.code for each in RULES.values()}
    close = {each: difflib.SequenceMatcher(None, each, wanted.lower()).ratio() for each in codes}
    nearest = sorted((each for each in codes if close[each] >= 0.6), key=lambda each: -close[each])  # of equal ones the lowest code
    raise UnknownRule(code, tuple(dict.fromkeys(codes[each] for each in nearest))[:3])


def codes() -> tuple[str, ...]:
    """Every code that can be reported."""
    return tuple(sorted((*RULES, *PAGES)))


def page(code: str) -> str:
    """The page of a code, as Markdown: a rule's is its docstring, then its examples. Raises `UnknownRule`."""
    for other, (name, text) in PAGES.items():
        if code.strip().lower() in (other.lower(), name):
            return f"# {name} ({other})\n\n{text}"
    rule = find(code)
    parts = [f"# {rule.name} ({rule.code})", inspect.cleandoc(rule.__doc__ or "")]
    parts += _examples("Reported", "The comment names the rule and the column of each finding.", rule.INVALID)
    parts += _examples("Silent", "", rule.VALID)
    return "\n\n".join(parts) + "\n"


def _examples(title: str, lead: str, examples: tuple[str, ...]) -> list[str]:
    """The section that shows `examples`, as paragraphs; none where there are no examples."""
    if not examples:
        return []
    return [f"## {title}", *([lead] if lead else []), *(f"```python\n{example.strip()}\n```" for example in examples)]
