"""Fixes that hold: of what may mend a finding, what does, by linting the result; and a program with them made, until nothing is left to do.

A fix counts only if its file still parses, the finding is gone, also as a less certain one, and none is new in any file of the program.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from hashlib import blake2b
from math import inf

from evallint.cache.memory import Memory
from evallint.cache.store import Keeper
from evallint.finding import Finding, Fix
from evallint.fixes.edits import extent, lines_of, with_edits
from evallint.source.notebook import SUFFIX
from evallint.working import Work, findings_of, keep_findings, kept_findings

PASSES = 10
"""Rounds of fixes; overlapping ones take one each."""
MOST_OFFERED = 1_000_000
"""Characters that are linted at most to try out fixes which nobody has asked for yet."""
Shown = Callable[[Work, Sequence[Finding]], list[Finding]]
"""Of the findings of a part those that the settings and comments let through."""


@dataclass(slots=True)
class Mended:
    """A part of a program as it is after fixing: its files, its findings, and what of them was fixed."""

    work: Work
    findings: list[Finding]
    fixed: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trial:
    """What linting says of a program's texts."""

    work: Work
    findings: list[Finding]
    shown: list[Finding]


class Bench:
    """Tries fixes on one part of a program."""

    def __init__(self, shown: Shown, cache: Keeper, most: float = inf) -> None:
        self._shown = shown
        self._cache = cache.branch() if isinstance(cache, Memory) else Memory(cache)
        self._left = most
        """Characters that may still be linted."""
        self._refused: set[tuple[str, Fix]] = set()
        """By the text of the file: what was tried out need not be tried again."""

    def trial(self, work: Work, findings: list[Finding]) -> Trial:
        """A program's texts with what is known of them."""
        return Trial(work, findings, self._shown(work, findings))

    def with_fixes(self, trial: Trial, fixes: Iterable[tuple[Finding, Fix]]) -> Trial | None:
        """The program with fixes made, if they mend their findings and do no harm, and if there is time left to find out."""
        self._left -= trial.work.size
        if self._left < 0:
            return None
        rows = list(fixes)
        texts: dict[str, str] = {source.path: source.text for source in trial.work.sources}
        for path in {finding.place.path for finding, _ in rows}:
            texts[path] = with_edits(texts[path], [e for f, fix in rows if f.place.path == path for e in fix.edits])
        work = Work([changed(source, text=texts[source.path]) for source in trial.work.sources], trial.work.settings)
        after = self.trial(work, findings_of(work.sources, work.settings, self._cache))
        before, now = _signs(trial.work, trial.findings), _signs(after.work, after.findings)
        new = _signs(after.work, after.shown) - _signs(trial.work, trial.shown)
        gone = all(now[sign] <= before[sign] - count for sign, count in _signs(trial.work, [f for f, _ in rows]).items())
        return after if gone and not new else None

    def without_comments(self, trial: Trial) -> tuple[Trial, list[Finding]]:
        """The program without the comments that silence nothing, if these are looked for (EVL910), and what was said of them."""
        from evallint.noqa_use import unused_in_texts  # imports the rules

        work = trial.work
        scripts = {source.path: source.text for source in work.sources if not source.path.endswith(SUFFIX)}
        unused = [f for f in unused_in_texts(scripts, trial.findings, work.settings) if f.fix]
        if not unused:
            return trial, []
        for path in {f.place.path for f in unused}:
            scripts[path] = with_edits(scripts[path], [edit for f in unused if f.place.path == path and f.fix for edit in f.fix.edits])
        after = Work([changed(source, text=scripts.get(source.path, source.text)) for source in work.sources], work.settings)
        return self.trial(after, findings_of(after.sources, after.settings, self._cache)), unused

    def proven(self, trial: Trial, findings: Sequence[Finding], *, unsafe: bool) -> dict[Finding, Fix]:
        """For each finding that can be mended by itself, the best fix that does it."""
        from evallint.fixes.code import codes_of
        from evallint.fixes.proposals import proposals  # imports libcst

        texts = {source.path: source.text for source in trial.work.sources}
        codes = codes_of(texts)

        def open_(finding: Finding) -> Iterator[Fix]:
            for fix in proposals(finding, codes):
                if (unsafe or fix.applicability == "safe") and (texts[finding.place.path], fix) not in self._refused:
                    yield fix

        waiting = {finding: open_(finding) for finding in findings if finding.repair is not None}
        found: dict[Finding, Fix] = {}
        while waiting and self._left > trial.work.size:
            offered = {f: fix for f, fixes in waiting.items() if (fix := next(fixes, None)) is not None}
            waiting = {f: waiting[f] for f in offered}
            for group in _apart(offered):
                for finding, fix in self._good(trial, group):
                    found[finding] = fix
                    del waiting[finding]
        return found

    def _good(self, trial: Trial, group: Sequence[tuple[Finding, Fix]]) -> Iterator[tuple[Finding, Fix]]:
        """Those of some fixes, none of which overlap, that hold; as they mostly all do, together first."""
        if self.with_fixes(trial, group) is not None:
            yield from group
        elif len(group) > 1:
            yield from self._good(trial, group[: len(group) // 2])
            yield from self._good(trial, group[len(group) // 2 :])
        else:
            ((finding, fix),) = group
            text = next(source.text for source in trial.work.sources if source.path == finding.place.path)
            self._refused.add((text, fix))


def offer(work: Work, findings: list[Finding], shown: Shown, cache: Keeper) -> Mended:
    """The findings with the fix of each that is shown and can be fixed by itself, as far as little work tells; nothing is changed.

    In a large program, where a trial takes long, none is offered: `mend` has to be asked for.
    """
    key = blake2b(repr((work.key(), work.settings, "offer")).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    known = kept_findings(cache.get(key))
    if known is not None:
        return Mended(work, known)
    bench = Bench(shown, cache, MOST_OFFERED)
    trial = bench.trial(work, findings)
    fixes = bench.proven(trial, trial.shown, unsafe=True)
    found = [changed(f, fix=fixes.get(f)) for f in findings]
    keep_findings(cache, key, found)
    return Mended(work, found)


def mend(work: Work, findings: list[Finding], shown: Shown, cache: Keeper, *, unsafe: bool) -> Mended:
    """The program with its shown findings fixed, as far as there are fixes, and what is left, with the fixes that nobody asked for."""
    bench = Bench(shown, cache)
    trial, mended = bench.without_comments(bench.trial(work, findings))
    for _ in range(PASSES):
        fixes = bench.proven(trial, trial.shown, unsafe=unsafe)
        if not fixes:
            break
        group = _apart(_foremost(fixes))[0]
        for some in (group, group[:1]):
            after = bench.with_fixes(trial, some)
            if after is not None:
                trial = after
                mended += [finding for finding, _ in some]
                break
    left = {} if unsafe else bench.proven(trial, trial.shown, unsafe=True)
    return Mended(trial.work, [changed(f, fix=left.get(f)) for f in trial.findings], mended)


def _foremost(fixes: dict[Finding, Fix]) -> dict[Finding, Fix]:
    """The fixes to make first: a mode call put right mends what follows, and where nothing is recorded no graph is kept."""
    for some in (("call", "enter"), ("eval", "no-grad", "train", "flag", "register", "override")):
        found = {finding: fix for finding, fix in fixes.items() if finding.repair is not None and finding.repair.kind in some}
        if found:
            return found
    return fixes


def _apart(fixes: dict[Finding, Fix]) -> list[list[tuple[Finding, Fix]]]:
    """Fixes in groups of which none overlap, in the order of the text; the first group has as many as can be."""
    groups: list[list[tuple[Finding, Fix]]] = []
    for finding, fix in sorted(fixes.items(), key=lambda row: row[0].sort_key()):
        for group in groups:
            if not any(other.place.path == finding.place.path and _meet(fix, theirs) for other, theirs in group):
                group.append((finding, fix))
                break
        else:
            groups.append([(finding, fix)])
    return groups


def _meet(a: Fix, b: Fix) -> bool:
    (first, last), (start, end) = extent(a.edits), extent(b.edits)
    return first <= end and start <= last


def _signs(work: Work, findings: Iterable[Finding]) -> Counter[tuple[str, ...]]:
    """What findings are known by when lines move: file, rule, function, and what the line says."""
    lines = {source.path: lines_of(source.text) for source in work.sources}
    found: Counter[tuple[str, ...]] = Counter()
    for finding in findings:
        path, number = finding.place.path, finding.place.line
        text = lines[path][number - 1] if path in lines and 0 < number <= len(lines[path]) else ""
        found[path, finding.code, finding.function, "".join(text.split())] += 1
    return found
