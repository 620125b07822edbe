"""Paths or text to a report: what is gathered, worked out, and of its findings shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from evallint.cache.store import Keeper, NoStore
from evallint.finding import Finding
from evallint.gathering import Gathered, Say, Text, fingerprint, gather
from evallint.settings import Settings, SettingsError, replace
from evallint.source.file import Source
from evallint.source.noqa import without_noqa
from evallint.source.parsing import compiles
from evallint.source.patterns import ignored_codes
from evallint.source.reading import Unreadable, decode, read_bytes, unreadable
from evallint.source.screening import text_matters
from evallint.source.walking import Found, Problem
from evallint.working import Work, answers, known_run, remember_run


class Mended(Protocol):
    """A part of a program as it is after fixing: its files, its findings, and what of them was fixed."""

    work: Work
    findings: list[Finding]
    fixed: list[Finding]


Mend = Callable[[Work, list[Finding], Callable[[Work, Sequence[Finding]], list[Finding]], Keeper], Mended]
"""What is done to each part of a program after it was analysed, given its findings, what tells which are shown, and the cache."""


@dataclass(slots=True)
class Report:
    """What a run found: findings in order, how many files it saw and parsed, and the paths that it could not read."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    parsed: int = 0
    errors: list[Problem] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """The text of every file that a finding or its trail is in, for code frames."""
    rewritten: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The text of every file in which something was fixed, before and after; nothing is written."""
    fixed: list[Finding] = field(default_factory=list)
    """The findings that were fixed, at their places in the text before."""


def lint_source(source: str, filename: str) -> list[Finding]:
    """The findings of one file's text, by the default settings; `# noqa` is honoured.

    Pure: reads nothing, and takes and returns plain, picklable values. Never raises on bad code: that is an EVL900 finding.
    """
    return lint_text(source, filename, Settings())


def lint_text(
    source: str, filename: str, settings: Settings, *, noqa: bool = True, imported: bool = False, cache: Keeper | None = None
) -> list[Finding]:
    """`lint_source` by other settings, and (`noqa` false) with the findings that comments silence.

    `imported` says that other files import this one, so that callers of its functions may be out of sight. `cache` keeps the answer.
    """
    source = source.removeprefix("\ufeff")
    if "\0" in source:
        raw = [unreadable(filename, "cannot parse the file: it contains a zero byte", source.count("\n", 0, source.index("\0")) + 1)]
    elif text_matters(source) or not compiles(source):
        work = Work([Source(filename, source, imported=imported)], settings)
        raw = answers([work], 1, cache or NoStore(), _silent)[0]
    else:
        return []
    return _shown(raw, {filename: source}, settings, noqa=noqa)


def lint_paths(
    paths: Iterable[str | os.PathLike[str]],
    settings: Settings | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    texts: Sequence[Text] = (),
    say: Say | None = None,
    jobs: int = 1,
    cache: Keeper | None = None,
    mend: Mend | None = None,
) -> Report:
    """Lint files and folders as one program; around a file that is named itself, those that call it are read as well.

    Without `settings`, each file has those of the nearest `[tool.evallint]` upward, and files of different ones are different
    programs; `changes` (by field name) override either. `texts` are linted as well. `say` is told what goes on. Up to `jobs`
    processes share the work (0: one for each core). `cache` keeps what was found out, for the next run; the report is the same without.
    `mend` works on the findings of each part of a program, and on its texts: `fixing.offer` or `fixing.mend`; no file is written.
    A path that cannot be read is an entry of `errors`; a file that cannot be read or parsed is an EVL900 finding. Raises SettingsError.
    """
    say = say or _silent
    cache = cache or NoStore()
    fixed = None if settings is None else replace(settings, changes or {})
    given = [os.fspath(path) for path in paths]
    whole = fingerprint(given, fixed, changes or {}, texts, say) if not isinstance(cache, NoStore) and mend is None else None
    if whole is not None and (known := known_run(cache, whole.key, len(whole.settings))) is not None:
        report = Report(files=whole.files, parsed=known.parsed, errors=whole.errors)
        for used, rows in zip(whole.settings, known.findings, strict=True):
            _show(report, rows, _texts_of(rows), used)
    else:
        gathered = gather(given, fixed, changes or {}, texts, say)
        report = Report(files=gathered.files, parsed=gathered.parsed, errors=gathered.errors)
        found = _work_out(gathered, jobs, cache, say, mend, report)
        for used, rows in found.items():
            _show(report, rows, _texts_in(gathered, used, report), used)
        if whole is not None and whole.contents == gathered.contents:
            remember_run(cache, whole.key, report.parsed, [found.get(used, []) for used in whole.settings])
        cache.prune()
    report.findings.sort(key=Finding.sort_key)
    return report


def _silent(_: object) -> None:
    pass


def _work_out(gathered: Gathered, jobs: int, cache: Keeper, say: Say, mend: Mend | None, report: Report) -> dict[Settings, list[Finding]]:
    """The raw findings of every program; what `mend` changes of its texts goes into the report."""
    works = [Work(part, used) for used, sources in gathered.programs.items() for part in gathered.parts(sources, used)]
    found = {used: list(gathered.raw.get(used, ())) for used in {**gathered.programs, **gathered.raw}}

    def tell(done: int) -> None:
        say(
            f"analysing {gathered.parsed} of {gathered.files} files" + (f": {100 * done // max(len(works), 1)} %" if len(works) > 9 else "")
        )

    tell(0)
    for work, rows in zip(works, answers(works, jobs, cache, tell), strict=True):
        if mend is not None:
            mended = mend(work, rows, partial(_shown_of, gathered), cache)
            before = {source.path: source.text for source in work.sources}
            after = {gathered.written(s.path): (before[s.path], s.text) for s in mended.work.sources}
            report.rewritten |= {path: texts for path, texts in after.items() if texts[0] != texts[1]}
            report.fixed += gathered.as_given(mended.fixed)
            rows = mended.findings
        found[work.settings] += gathered.as_given(rows)
    return found


def _shown_of(gathered: Gathered, work: Work, findings: Sequence[Finding]) -> list[Finding]:
    """Of the findings of a part those that are to be seen."""
    texts = {gathered.written(source.path): source.text for source in work.sources}
    given = gathered.as_given(findings)
    seen = set(_shown(given, texts, work.settings))
    return [finding for finding, as_given in zip(findings, given, strict=True) if as_given in seen]


def _texts_in(gathered: Gathered, settings: Settings, report: Report) -> dict[str, str]:
    """The texts of one program's files, as they are with what was fixed."""
    texts = {source.path: source.text for source in gathered.programs.get(settings, ())}
    return texts | {path: after for path, (_, after) in report.rewritten.items() if path in texts}


def _show(report: Report, raw: Sequence[Finding], known: Mapping[str, str], settings: Settings) -> None:
    """Add to a report what is to be seen of one program's findings, and the texts that show it."""
    rows = _shown(raw, known, settings)
    for finding in rows:
        for path in {finding.place.path, *(step.place.path for step in finding.trail)} & known.keys():
            report.texts[path] = known[path]
    report.findings += rows


def _texts_of(findings: Iterable[Finding]) -> dict[str, str]:
    """The texts of the files that findings are in."""
    found: dict[str, str] = {}
    for path in {path for f in findings for path in (f.place.path, *(step.place.path for step in f.trail))}:
        with suppress(Unreadable):
            found[path] = decode(read_bytes(path))
    return found


def _shown(raw: Iterable[Finding], texts: Mapping[str, str], settings: Settings, *, noqa: bool = True) -> list[Finding]:
    """Of the raw findings those that the settings and the comments in `texts` (path to text) let through, once each, in order."""
    by_path: dict[str, list[Finding]] = {}
    for finding in dict.fromkeys(raw):
        if settings.selects(finding.code) and settings.shows(finding.confidence, finding.severity):
            by_path.setdefault(finding.place.path, []).append(finding)
    kept: list[Finding] = []
    for path, rows in by_path.items():
        silenced = ignored_codes(settings, path)
        rows = [f for f in rows if not f.code.startswith(silenced)] if silenced else rows
        kept += without_noqa(rows, texts[path]) if noqa and path in texts else rows
    return sorted(kept, key=Finding.sort_key)


__all__ = ["Found", "Problem", "Report", "SettingsError", "Text", "lint_paths", "lint_source", "lint_text"]
