"""Paths or text to a report: what is gathered, worked out, and of its findings shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from evallint.cache.store import Keeper, NoStore
from evallint.finding import Anchor, Finding, Shown
from evallint.gathering import Gathered, Past, Say, Text, entries, fingerprint, gather, settings_by_folder
from evallint.settings import Settings, SettingsError, replace
from evallint.source.file import Source
from evallint.source.noqa import without_noqa
from evallint.source.notebook import SUFFIX, Notebook, in_cells, read_notebook
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
    """The text of every file that a finding or its trail is in, for code frames; of a notebook its code cells, joined."""
    notebooks: dict[str, Notebook] = field(default_factory=dict)
    """The notebooks among them."""
    anchors: list[Anchor | None] = field(default_factory=list)
    """Where in a diff each finding can be told, if the report is one of what a diff brought."""
    shown: dict[str, Shown] = field(default_factory=dict)
    """What the diff shows of each file that has a finding."""


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
    if filename.endswith(SUFFIX):
        return _lint_notebook(source, filename, settings, noqa=noqa, cache=cache)
    if "\0" in source:
        raw = [unreadable(filename, "cannot parse the file: it contains a zero byte", source.count("\n", 0, source.index("\0")) + 1)]
    elif text_matters(source) or not compiles(source):
        work = Work([Source(filename, source, imported=imported)], settings)
        raw = answers([work], 1, cache or NoStore(), _silent)[0]
    else:
        raw = []
    shown = _shown(_uncommented(raw, {filename: source}) if noqa else raw, settings)
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
    past: Past | None = None,
) -> Report:
    """Lint files and folders as one program; around a file that is named itself, those that call it are read as well.

    Without `settings`, each file has those of the nearest configuration upward, and files of different ones are different
    programs; `changes` (by field name) override either. `texts` are linted as well. `say` is told what goes on. Up to `jobs`
    processes share the work (0: one for each core). `cache` keeps what was found out, for the next run; the report is the same without.
    With `force_exclude`, excludes hold for what is named itself as well. With `past` the program is linted as it was then.
    A path that cannot be read is an entry of `errors`; a file that cannot be read or parsed is an EVL900 finding. Raises SettingsError.
    """
    say = say or _silent
    cache = cache or NoStore()
    fixed = None if settings is None else replace(settings, changes or {})
    settings_in = settings_by_folder(fixed, changes or {})
    given = [os.fspath(path) for path in paths]
    then = past or Past({})
    whole = None
    if past is None and not isinstance(cache, NoStore):
        whole = fingerprint(given, settings_in, texts, say, force_exclude)
    if (
        whole is not None
        and not _asks_for_unused(whole.settings)
        and (known := known_run(cache, whole.key, len(whole.settings))) is not None
    ):
        report = Report(files=whole.files, parsed=known.parsed, errors=whole.errors)
        for used, rows in zip(whole.settings, known.findings, strict=True):
            _show(report, rows, _text_of, used)
    else:
        gathered = gather(given, settings_in, texts, say, force_exclude, then)
        report = Report(files=gathered.files, parsed=gathered.parsed, errors=gathered.errors)
        raw = _work_out(gathered, jobs, cache, say)
        found: dict[Settings, list[Finding]] = {}
        for used, rows in raw.items():
            texts_of = {source.path: source.text for source in gathered.programs.get(used, ())}
            found[used] = _uncommented(rows, texts_of)
            _show(report, found[used], partial(_given_text, gathered.notebooks, texts_of), used)
        if _asks_for_unused(gathered.settings):
            from evallint.noqa_use import unused_in_files

            every = [finding for rows in raw.values() for finding in rows]
            for finding, text in unused_in_files(entries(given, settings_in, texts, force_exclude, then), settings_in, every):
                report.findings.append(finding)
                report.texts[finding.place.path] = text
        if whole is not None and whole.contents == gathered.contents:
            remember_run(cache, whole.key, report.parsed, [found.get(used, []) for used in whole.settings])
        cache.prune()
    report.findings.sort(key=Finding.sort_key)
    return report


def _asks_for_unused(every: Iterable[Settings]) -> bool:
    """Whether comments that silence nothing are to be told: which those are is not kept with a run's answer."""
    return any(used.selects(UNUSED[0]) for used in every)


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


def _show(report: Report, findings: Sequence[Finding], text_of: Callable[[str], str | Notebook | None], settings: Settings) -> None:
    """Add to a report what is to be seen of one program's findings, and the texts that show it."""
    rows = _shown(findings, settings)
    report.findings += rows
    for path in {place.path for f in rows for place in (f.place, *(step.place for step in f.trail))}:
        text = text_of(path)
        if isinstance(text, Notebook):
            report.notebooks[path] = text
            report.texts[path] = text.shown
        elif text is not None:
            report.texts[path] = text


def _given_text(notebooks: Mapping[str, Notebook], texts: Mapping[str, str], path: str) -> str | Notebook | None:
    """What a file said when it was read."""
    return notebooks.get(path) or texts.get(path)


def _text_of(path: str) -> str | Notebook | None:
    """The text of a file, or its code if it is a notebook; None if it cannot be read."""
    with suppress(Unreadable):
        return read_notebook(read_bytes(path)) if path.endswith(SUFFIX) else decode(read_bytes(path))
    return None


def _lint_notebook(source: str, filename: str, settings: Settings, *, noqa: bool, cache: Keeper | None) -> list[Finding]:
    """`lint_text` for the JSON of a notebook; places are those in its cells."""
    try:
        notebook = read_notebook(source.encode("utf-8", "surrogatepass"))
    except Unreadable as error:
        return _shown([error.finding(filename)], settings)
    raw = notebook.findings(filename)
    if text_matters(notebook.text):
        raw += answers([Work([Source(filename, notebook.text)], settings)], 1, cache or NoStore(), _silent)[0]
    return in_cells(_shown(_uncommented(raw, {filename: notebook.text}) if noqa else raw, settings), {filename: notebook})


def _uncommented(raw: Iterable[Finding], texts: Mapping[str, str]) -> list[Finding]:
    """The raw findings that no comment in `texts` (path to text) silences, once each."""
    by_path: dict[str, list[Finding]] = {}
    for finding in dict.fromkeys(raw):
        by_path.setdefault(finding.place.path, []).append(finding)
    return [f for path, rows in by_path.items() for f in (without_noqa(rows, texts[path]) if path in texts else rows)]


def _shown(findings: Sequence[Finding], settings: Settings) -> list[Finding]:
    """The findings that the settings let through, once each, in order."""
    ignored = {path: ignored_codes(settings, path) for path in {f.place.path for f in findings}}
    kept = [
        f
        for f in dict.fromkeys(findings)
        if settings.selects(f.code) and settings.shows(f.confidence, f.severity) and not f.code.startswith(ignored[f.place.path])
    ]
    return sorted(kept, key=Finding.sort_key)


__all__ = ["Found", "Past", "Problem", "Report", "SettingsError", "Text", "lint_paths", "lint_source", "lint_text"]
