"""EVL101: a statement that is meant to switch a mode, and switches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Step
from evallint.meaning.graph_claims import next_forward
from evallint.rules.base import Rule
from evallint.rules.words import place

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class ModeCallWithoutEffect(Rule):
    """
    """

    code = "EVL101"
    name = "mode-call-without-effect"
    summary = "`model.eval` is not called, or `torch.no_grad()` not entered: the statement does nothing"

    def check(self, facts: Facts) -> Iterator[Finding]:
        for idle in facts.idle:
            forward = next_forward(facts, idle)
            at = place(idle.path, idle.span)
            if idle.kind == "mode":
                message = f"`{idle.text}` without parentheses does nothing: call `{idle.text}()`"
                model, note = idle.text.rpartition(".")[0], f"`{idle.text}` is named here, not called"
            else:
                call = idle.text.rsplit(".", 1)[-1]
                message = f"`{idle.text}()` as a statement does nothing: it takes effect in `with {idle.text}():` or as a decorator"
                model, note = forward.text if forward is not None else "", f"`{call}` is made here, and never entered"
            steps = [Step(at, note)]
            if forward is not None:
                steps.append(Step(place(forward.path, forward.span), f"the forward of `{forward.text}`, in the mode that was set before"))
            yield Finding(
                at, self.code, self.name, message, confidence="high" if idle.sure else "medium",
                function=idle.function, model=model, trail=tuple(steps),
            )  # fmt: skip
