"""Scores and outcomes as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.corpus import peer
from tests.corpus.mutation import Outcome
from tests.corpus.scoring import Score

_HEAD = f"{'rule':8}{'TP':>5}{'FP':>5}{'FN':>5}{'TN':>6}{'precision':>11}{'recall':>8}{'F1':>7}{'unlabelled':>12}"


def table(scores: Mapping[str, Score], peers: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """The figures, one line a rule; beside them the precision and recall of another linter, by code."""
    yield f"{_HEAD}   {peer.NAME:23}missed, by what must be read"
    for code, score in sorted(scores.items()):
        cells = f"{code:8}{len(score.right):5}{len(score.false):5}{len(score.missed):5}{len(score.quiet):6}"
        figures = f"{score.precision:11.3f}{score.recall:8.3f}{score.f1:7.3f}{len(score.unlabelled):12}"
        beside = f"P {peers[code][0]:.2f}, R {peers[code][1]:.2f}" if code in peers else "no such rule" if peers else "not scored"
        needs = ", ".join(f"{needs} {count}" for needs, count in sorted(score.missed_by_needs.items()))
        yield f"{cells}{figures}   {beside:23}{needs}".rstrip()


def details(score: Score, folder: Path) -> Iterator[str]:
    """Every wrong and every unlabelled finding, and every missed region."""
    for word, regions in (("FP", score.false), ("FN", score.missed)):
        for each in regions:
            line = score.at.get(each.id, each.lines[0])
            yield f"    {word} {score.code} {folder / each.file}:{line} [{each.function}] {each.id}: {each.why}"
    for said in score.unlabelled:
        yield f"    ?? {said.code} {folder / said.file}:{said.line} {said.message}"


def outcomes(code: str, outcome: Outcome) -> str:
    """The line of one rule's mutants."""
    share = outcome.noticed / outcome.made if outcome.made else 0.0
    return f"{code:8}{outcome.noticed:4} of {outcome.made} noticed ({share:.2f}), {outcome.possible} possible"


def survivors(outcome: Outcome, folder: Path) -> Iterator[str]:
    """The mutants that went unnoticed, with the lines that were changed."""
    for each in outcome.survivors:
        changed = ", ".join(str(index + 1) for index in sorted(each.lines))
        yield f"    {each.code} {folder / each.region.file}:{each.region.lines[0]} [{each.region.function}] changed lines: {changed}"
