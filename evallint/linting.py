"""Paths or text to a report: what is gathered, worked out, and of its findings shown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from evallint.cache.store import Keeper, NoStore
from evallint.finding import Finding
from evallint.gathering import Gathered, Say, Text, fingerprint, gather, settings_by_folder
from evallint.settings import Settings, SettingsError, replace
from evallint.source.file import Source
from evallint.source.noqa import without_noqa
from evallint.source.parsing import compiles
from evallint.source.patterns import ignored_codes
from evallint.source.reading import Unreadable, decode, read_bytes, unreadable
from evallint.source.screening import text_matters
from evallint.source.unused_noqa import UNUSED
from evallint.source.walking import Found, Problem
from evallint.working import Work, answers, known_run, remember_run


@dataclass(slots=True)
class Report:
    """What a run found: findings in order, how many files it saw and parsed, and the paths that it could not read."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    parsed: int = 0
    errors: list[Problem] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """The text of every file that a finding or its trail is in, for code frames."""


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
        raw = []
    shown = _shown(raw, {filename: source}, settings, noqa=noqa)
    if noqa and settings.selects(UNUSED[0]):
        from evallint.noqa_use import unused_in_text

        shown = sorted([*shown, *unused_in_text(filename, source, raw, settings)], key=Finding.sort_key)
    return shown


def lint_paths(
    paths: Iterable[str | os.PathLike[str]],
    settings: Settings | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    texts: Sequence[Text] = (),
    say: Say | None = None,
    jobs: int = 1,
    cache: Keeper | None = None,
    force_exclude: bool = False,
) -> Report:
    """Lint files and folders as one program; around a file that is named itself, those that call it are read as well.

    Without `settings`, each file has those of the nearest configuration upward, and files of different ones are different
    programs; `changes` (by field name) override either. `texts` are linted as well. `say` is told what goes on. Up to `jobs`
    processes share the work (0: one for each core). `cache` keeps what was found out, for the next run; the report is the same without.
    With `force_exclude`, excludes hold for what is named itself as well.
    A path that cannot be read is an entry of `errors`; a file that cannot be read or parsed is an EVL900 finding. Raises SettingsError.
    """
    say = say or _silent
    cache = cache or NoStore()
    fixed = None if settings is None else replace(settings, changes or {})
    settings_in = settings_by_folder(fixed, changes or {})
    given = [os.fspath(path) for path in paths]
    whole = fingerprint(given, settings_in, texts, say, force_exclude) if not isinstance(cache, NoStore) else None
    if whole is not None and any(used.selects(UNUSED[0]) for used in whole.settings):
        whole = None  # for comments that silence nothing all files are looked at
    if whole is not None and (known := known_run(cache, whole.key, len(whole.settings))) is not None:
        report = Report(files=whole.files, parsed=known.parsed, errors=whole.errors)
        for used, rows in zip(whole.settings, known.findings, strict=True):
            _show(report, rows, _texts_of(rows), used)
    else:
        gathered = gather(given, settings_in, texts, say, force_exclude)
        report = Report(files=gathered.files, parsed=gathered.parsed, errors=gathered.errors)
        found = _work_out(gathered, jobs, cache, say)
        for used, rows in found.items():
            _show(report, rows, {source.path: source.text for source in gathered.programs.get(used, ())}, used)
        if whole is not None and whole.contents == gathered.contents:
            remember_run(cache, whole.key, report.parsed, [found.get(used, []) for used in whole.settings])
        for used, commented in gathered.commented.items():
            _show_unused(report, commented, found.get(used, ()), used)
        cache.prune()
    report.findings.sort(key=Finding.sort_key)
    return report


def _silent(_: object) -> None:
    pass


def _work_out(gathered: Gathered, jobs: int, cache: Keeper, say: Say) -> dict[Settings, list[Finding]]:
    """The raw findings of every program."""
    works = [Work(part, used) for used, sources in gathered.programs.items() for part in gathered.parts(sources, used)]
    found = {used: list(gathered.raw.get(used, ())) for used in {**gathered.programs, **gathered.raw}}

    def tell(done: int) -> None:
        say(
            f"analysing {gathered.parsed} of {gathered.files} files" + (f": {100 * done // max(len(works), 1)} %" if len(works) > 9 else "")
        )

    tell(0)
    for work, rows in zip(works, answers(works, jobs, cache, tell), strict=True):
        found[work.settings] += gathered.as_given(rows)
    return found


def _show(report: Report, raw: Sequence[Finding], known: Mapping[str, str], settings: Settings) -> None:
    """Add to a report what is to be seen of one program's findings, and the texts that show it."""
    rows = _shown(raw, known, settings)
    for finding in rows:
        for path in {finding.place.path, *(step.place.path for step in finding.trail)} & known.keys():
            report.texts[path] = known[path]
    report.findings += rows


def _show_unused(report: Report, commented: Mapping[str, str], raw: Iterable[Finding], settings: Settings) -> None:
    """Add to a report the comments of files (path to text) that silence nothing of the raw findings."""
    from evallint.noqa_use import unused_in_texts

    for finding in unused_in_texts(commented, raw, settings):
        report.findings.append(finding)
        report.texts[finding.place.path] = commented[finding.place.path]


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
