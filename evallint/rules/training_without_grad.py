"""EVL102: a training step whose forward runs with recording off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Step
from evallint.meaning.graph_claims import unrecorded
from evallint.rules.base import Rule
from evallint.rules.words import place

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class TrainingWithoutGrad(Rule):
    """
    """

    code = "EVL102"
    name = "training-without-grad"
    summary = "a training step's forward runs with recording off"

    def check(self, facts: Facts) -> Iterator[Finding]:
        for claim in unrecorded(facts):
            forward, backward = claim.forward, claim.backward
            path, span, function, _ = claim.hush
            when = "" if claim.always else f" once {function}() has turned it off"
            message = (
                f"`{forward.text}` runs with recording off{when}, so `{backward.text}()` (line {backward.span[0]}) has no gradient to give it"
            )
            yield Finding(
                place(forward.path, forward.span), self.code, self.name, message, confidence=claim.confidence, severity="error",
                function=forward.stops[-1].function, model=forward.text,
                trail=(
                    Step(place(path, span), "recording is turned off here"),
                    Step(place(forward.path, forward.span), f"the forward of `{forward.text}`: nothing is recorded"),
                    Step(place(backward.path, backward.span), f"`{backward.text}()` here"),
                ),
            )  # fmt: skip
