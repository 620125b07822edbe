"""Which models a program trains, and which forwards are a part of that, though no gradient goes through them."""

from __future__ import annotations

from typing import Any

from evallint.meaning.facts import Facts, Forward

LOSS_USES = frozenset("item metric detach".split())
"""What training code does with its loss besides training."""


def trained_objects(facts: Facts) -> set[tuple[Any, ...]]:
    """The objects that some training step trains, and the calls that made them."""
    objects = {f.loc for f in facts.forwards if f.trained and f.loc is not None}
    return objects | {("made by", loc[2]) for loc in objects if loc[0] == "new"}


def is_part_of(loc: tuple[Any, ...] | None, trained: set[tuple[Any, ...]]) -> bool:
    """Whether an object, the whole that it is a part of, or the one whose constructor made it is among those that are trained."""
    while loc is not None:
        if loc in trained:
            return True
        if loc[0] == "new" and any(("made by", call) in trained for call in loc[3]):
            return True
        loc = loc[1] if loc[0] == "child" else None
    return False


class Training:
    """Tells forwards that belong to the training steps of a program."""

    def __init__(self, facts: Facts) -> None:
        reached = [f for f in facts.forwards if not f.offered]
        self._places = {(f.path, f.span) for f in reached if f.trained} - {(f.path, f.span) for f in reached if not f.trained}
        """Where every forward is trained, as far as others call what it is in."""
        self._batches = {key for f in facts.forwards if f.trained and (key := batch_of(f)) is not None}

    def includes(self, forward: Forward) -> bool:
        """Whether a forward is a part of a training step.

        That is by those who call what it is in; as it goes on with what is trained there; or as it passes once more over the batch
        that is trained on, for its loss.
        """
        if forward.offered and (forward.path, forward.span) in self._places:
            return True
        if forward.loops and forward.loops[-1].trains and not forward.follows.isdisjoint(self._places):
            return True
        return batch_of(forward) in self._batches and forward.uses <= LOSS_USES | {"append"}


def batch_of(forward: Forward) -> tuple[Any, ...] | None:
    """A model, a loop that trains and what the model is fed there; None for a loop that counts its epochs, where all data is one batch."""
    loop = forward.loops[-1] if forward.loops else None
    if loop is None or not loop.trains or not forward.fed or "range" in loop.source.split():
        return None
    return forward.loc, id(loop), forward.fed
