"""Every rule by its code, and the rules' pages."""

from __future__ import annotations

import difflib
import inspect

from evallint.rules.base import Rule
from evallint.rules.graph_kept_alive import GraphKeptAlive
from evallint.rules.missing_eval import MissingEval
from evallint.rules.missing_no_grad import MissingNoGrad
from evallint.rules.missing_train import MissingTrain
from evallint.rules.mode_call_without_effect import ModeCallWithoutEffect
from evallint.rules.training_without_grad import TrainingWithoutGrad

_CLASSES: tuple[type[Rule], ...] = (
    MissingEval,
    MissingNoGrad,
    MissingTrain,
    ModeCallWithoutEffect,
    TrainingWithoutGrad,
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
    close = difflib.get_close_matches(wanted.lower(), list(codes), n=3, cutoff=0.6)
    raise UnknownRule(code, tuple(dict.fromkeys(codes[match] for match in close)))


def page(code: str) -> str:
    """The page of a rule, as Markdown: its docstring, then its examples."""
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
