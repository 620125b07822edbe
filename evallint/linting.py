"""Paths or text to a report: what is gathered, worked out, and of its findings shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from evallint.cache.store import Keeper, NoStore
from evallint.finding import Anchor, Finding, Shown
from evallint.gathering import Gathered, Past, Say, Text, fingerprint, gather, settings_by_folder
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
    """The text of every file that a finding or its trail is in, for code frames; of a notebook its code cells, joined."""
    notebooks: dict[str, Notebook] = field(default_factory=dict)
    """The notebooks among them."""
    anchors: list[Anchor | None] = field(default_factory=list)
    """Where in a diff each finding can be told, if the report is one of what a diff brought."""
    shown: dict[str, Shown] = field(default_factory=dict)
    """What the diff shows of each file that has a finding."""
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
    mend: Mend | None = None,
) -> Report:
    """Lint files and folders as one program; around a file that is named itself, those that call it are read as well.

    Without `settings`, each file has those of the nearest configuration upward, and files of different ones are different
    programs; `changes` (by field name) override either. `texts` are linted as well. `say` is told what goes on. Up to `jobs`
    processes share the work (0: one for each core). `cache` keeps what was found out, for the next run; the report is the same without.
    With `force_exclude`, excludes hold for what is named itself as well. With `past` the program is linted as it was then.
    `mend` works on the findings of each part of a program, and on its texts: `fixing.offer` or `fixing.mend`; no file is written.
    A path that cannot be read is an entry of `errors`; a file that cannot be read or parsed is an EVL900 finding. Raises SettingsError.
    """
    say = say or _silent
    cache = cache or NoStore()
    fixed = None if settings is None else replace(settings, changes or {})
    settings_in = settings_by_folder(fixed, changes or {})
    given = [os.fspath(path) for path in paths]
    whole = None
    if past is None and mend is None and not isinstance(cache, NoStore):
        whole = fingerprint(given, settings_in, texts, say, force_exclude)
    if whole is not None and any(used.selects(UNUSED[0]) for used in whole.settings):
        whole = None  # for comments that silence nothing all files are looked at
    if whole is not None and (known := known_run(cache, whole.key, len(whole.settings))) is not None:
        report = Report(files=whole.files, parsed=known.parsed, errors=whole.errors)
        for used, rows in zip(whole.settings, known.findings, strict=True):
            _show(report, rows, _text_of, used)
    else:
        gathered = gather(given, settings_in, texts, say, past or Past({}), force_exclude=force_exclude)
        report = Report(files=gathered.files, parsed=gathered.parsed, errors=gathered.errors)
        raw = _work_out(gathered, jobs, cache, say, mend, report)
        found: dict[Settings, list[Finding]] = {}
        for used, rows in raw.items():
            texts_of = _texts_in(gathered, used, report)
            found[used] = _uncommented(rows, texts_of)
            _show(report, found[used], partial(_given_text, gathered.notebooks, texts_of), used)
        if whole is not None and whole.contents == gathered.contents:
            remember_run(cache, whole.key, report.parsed, [found.get(used, []) for used in whole.settings])
        for used, commented in gathered.commented.items():
            _show_unused(
                report, {path: report.rewritten.get(path, ("", text))[1] for path, text in commented.items()}, raw.get(used, ()), used
            )
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
    for path, (_, text) in report.rewritten.items():
        if path in gathered.notebooks:
            _reread(gathered, path, text, found)
    return found


def _reread(gathered: Gathered, path: str, text: str, found: dict[Settings, list[Finding]]) -> None:
    """Put a notebook as it is with what was fixed in place of what was read; cells that do not parse are further down now."""
    was = gathered.notebooks[path]
    book = gathered.notebooks[path] = read_notebook(was.written(text).encode("utf-8", "surrogatepass"))
    old = was.findings(path)
    for used, rows in found.items():
        if any(finding in rows for finding in old):
            found[used] = [finding for finding in rows if finding not in old] + book.findings(path)


def _shown_of(gathered: Gathered, work: Work, findings: Sequence[Finding]) -> list[Finding]:
    """Of the findings of a part those that are to be seen."""
    given = gathered.as_given(findings)
    texts = {gathered.written(source.path): source.text for source in work.sources}
    seen = set(_shown(_uncommented(given, texts), work.settings))
    return [finding for finding, as_given in zip(findings, given, strict=True) if as_given in seen]


def _texts_in(gathered: Gathered, settings: Settings, report: Report) -> dict[str, str]:
    """The texts of one program's files, as they are with what was fixed."""
    texts = {source.path: source.text for source in gathered.programs.get(settings, ())}
    return texts | {path: after for path, (_, after) in report.rewritten.items() if path in texts}


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
    """What a file said when it was read, with what was fixed."""
    return notebooks.get(path) or texts.get(path)


def _show_unused(report: Report, commented: Mapping[str, str], raw: Iterable[Finding], settings: Settings) -> None:
    """Add to a report the comments of files (path to text) that silence nothing of the raw findings."""
    from evallint.noqa_use import unused_in_texts

    for finding in unused_in_texts(commented, raw, settings):
        report.findings.append(finding)
        report.texts[finding.place.path] = commented[finding.place.path]


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
