"""Proposals: the fixes that may mend a finding, the best first. Whether one does is for who lints the result to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from evallint.finding import Applicability, Finding, Fix, Repair
from evallint.fixes import detached, eval_mode, mode_calls, mode_flags, no_grad, overrides, registered, train_mode
from evallint.fixes.code import Code, Codes
from evallint.fixes.edits import edits_between

Propose = Callable[[Finding, Repair, Code, Codes], Iterator[tuple[str, Applicability]]]
_OF_KIND: dict[str, Propose] = {
    "eval": eval_mode.proposals,
    "no-grad": no_grad.proposals,
    "train": train_mode.proposals,
    "call": mode_calls.called,
    "enter": mode_calls.entered,
    "flag": mode_flags.proposals,
    "register": registered.proposals,
    "override": overrides.proposals,
    "detach": detached.proposals,
}


def proposals(finding: Finding, codes: Codes) -> Iterator[Fix]:
    """The fixes for a finding, given the code of the files by their paths; none where no right one can be written.

    What is sure and matters is `safe` to apply unless the fix itself says otherwise.
    """
    repair, code = finding.repair, codes(finding.place.path)
    if repair is None or code is None:
        return
    doubtful = finding.confidence == "low" or finding.severity == "note" or repair.doubtful
    seen = set()
    for text, applicability in _OF_KIND[repair.kind](finding, repair, code, codes):
        if text != code.text and text not in seen:
            seen.add(text)
            yield Fix("unsafe" if doubtful else applicability, edits_between(code.text, text))
