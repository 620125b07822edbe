"""EVL301: a tensor that still carries its graph, summed or collected over a loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Step
from evallint.meaning.graph_claims import kept_graphs
from evallint.rules.base import Rule
from evallint.rules.words import place

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class GraphKeptAlive(Rule):
    """
    """

    code = "EVL301"
    name = "graph-kept-alive"
    summary = "a tensor is summed or collected over a loop together with its graph"

    def check(self, facts: Facts) -> Iterator[Finding]:
        for claim in kept_graphs(facts):
            kept, forward = claim.kept, claim.forward
            what = {"sum": "adds to", "list": "collects in", "item": "stores in"}[kept.how]
            cure = "`.item()` or `.detach()`" if kept.how == "sum" else "`.detach()`"
            loop = "training" if claim.trains else "evaluation"
            message = (
                f"this {what} `{kept.text}` a tensor with its graph, so the graph of every round of the {loop} loop stays alive: "
                f"take {cure} of it{'' if claim.trains else ', or record nothing'}"
            )
            yield Finding(
                place(kept.path, kept.span), self.code, self.name, message, confidence=claim.confidence,
                function=kept.function, model=forward.text,
                trail=(
                    Step(place(kept.loop.path, kept.loop.span), "the loop"),
                    Step(place(forward.path, forward.span), f"the forward of `{forward.text}` is recorded"),
                    Step(place(kept.path, kept.span), f"`{kept.text}` keeps its graph"),
                ),
            )  # fmt: skip
