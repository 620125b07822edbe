"""Paths or text to a report: reading, screening, the analysis, and what of its findings is shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any

from evallint.finding import Finding, Place
from evallint.settings import Settings, SettingsError, replace, settings_for
from evallint.source import neighbours
from evallint.source.file import Source
from evallint.source.naming import program_names
from evallint.source.nesting import too_deep
from evallint.source.noqa import without_noqa
from evallint.source.patterns import ignored_codes
from evallint.source.reading import Unreadable, decode, read_bytes, unreadable
from evallint.source.screening import bytes_call, bytes_help, bytes_matter, text_matters
from evallint.source.walking import Found, Problem, find_files

Say = Callable[[str], None]
SettingsOf = Callable[[str], Settings]

NEIGHBOURS = 40
"""Files that are read around one that the user named."""


@dataclass(slots=True)
class Report:
    """What a run found: findings in order, how many files it saw and parsed, and the paths that it could not read."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    parsed: int = 0
    errors: list[Problem] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """The text of every file that a finding or its trail is in, for code frames."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text to lint in place of a file, under the name `path`: standard input, or an editor's buffer."""

    path: str
    data: bytes


def lint_source(source: str, filename: str) -> list[Finding]:
    """The findings of one file's text, by the default settings; `# noqa` is honoured.

    Pure: reads nothing, and takes and returns plain, picklable values. Never raises on bad code: that is an EVL900 finding.
    """
    return lint_text(source, filename, Settings())


def lint_text(source: str, filename: str, settings: Settings, *, noqa: bool = True, imported: bool = False) -> list[Finding]:
    """`lint_source` by other settings, and (`noqa` false) with the findings that comments silence.

    `imported` says that other files import this one, so that callers of its functions may be out of sight.
    """
    source = source.removeprefix("\ufeff")
    if "\0" in source:
        raw = [unreadable(filename, "cannot parse the file: it contains a zero byte", source.count("\n", 0, source.index("\0")) + 1)]
    elif text_matters(source) or not _compiles(source):
        deep = too_deep(source)
        raw = [unreadable(filename, *deep)] if deep else _analyse([Source(filename, source, imported=imported)], settings)
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
) -> Report:
    """Lint files and folders as one program; around a file that is named itself, those that call it are read as well.

    Without `settings`, each file has those of the nearest `[tool.evallint]` upward, and files of different ones are different
    programs; `changes` (by field name) override either. `texts` are linted as well. `say` is told what goes on.
    A path that cannot be read is an entry of `errors`; a file that cannot be read or parsed is an EVL900 finding. Raises SettingsError.
    """
    report = Report()
    say = say or _silent
    fixed = None if settings is None else replace(settings, changes or {})
    programs: dict[Settings, list[Source]] = {}
    raw: dict[Settings, list[Finding]] = {}
    helpers: list[tuple[str, bytes]] = []
    callers: list[tuple[str, frozenset[str]]] = []
    read: list[str] = []
    centres: list[str] = []

    def settings_of(path: str) -> Settings:
        return fixed or replace(settings_for(path), changes or {})

    def take(path: str, named: bool, data: bytes | None = None) -> None:
        report.files += 1
        read.append(path)
        try:
            if path.endswith(".ipynb"):  # JSON often parses as Python, so silence would look like a clean notebook
                raise Unreadable("cannot read the file: notebooks are not supported yet")
            if data is None:
                data = read_bytes(path)
            matters = bytes_matter(data)
            if not matters and (bytes_help(data) or path.endswith("__init__.py")):
                helpers.append((path, data))
            elif not matters and (imported := bytes_call(data)):
                callers.append((path, imported))
            if not matters and not named:
                return
            text = decode(data)
            # a file that the user named is told to be broken even where it has nothing to do with PyTorch
            if not matters and _compiles(text):
                return
            deep = too_deep(text)
            if deep:
                raise Unreadable(*deep)
            programs.setdefault(settings_of(path), []).append(Source(path, text))
            report.parsed += 1
            if named:
                centres.append(path)
        except Unreadable as error:
            raw.setdefault(settings_of(path), []).append(error.finding(path))

    for given in texts:
        take(given.path, True, given.data)
    for found in find_files([os.fspath(p) for p in paths], fixed):
        if isinstance(found, Problem):
            report.errors.append(found)
        else:
            take(found.path, found.named)
            if report.files % 100 == 0:
                say(f"reading: {report.files} files")
    for path, data in helpers:
        if settings_of(path) in programs:
            programs[settings_of(path)] += _read_for_others(path, data, context=False)
    for path, imported in callers:
        sources = programs.get(settings_of(path), [])
        if any(_stem(source.path) in imported for source in sources):
            with suppress(Unreadable):
                sources += _read_for_others(path, read_bytes(path), context=False)
    if centres:
        _surround(programs, centres, read, settings_of)
    say(f"analysing {report.parsed} of {report.files} files")
    findings: list[Finding] = []
    for used in {**programs, **raw}:
        sources = programs.get(used, [])
        known = {source.path: source.text for source in sources}
        rows = _shown([*raw.get(used, []), *(_as_program(sources, used) if sources else [])], known, used)
        for finding in rows:
            for path in {finding.place.path, *(step.place.path for step in finding.trail)} & known.keys():
                report.texts[path] = known[path]
        findings += rows
    report.findings = sorted(findings, key=Finding.sort_key)
    return report


def _silent(_: str) -> None:
    pass


def _read_for_others(path: str, data: bytes, *, context: bool) -> list[Source]:
    """A file that is read for the sake of others, unless it cannot be read or has nothing for them."""
    matters = bytes_matter(data)
    helps = not matters and (bytes_help(data) or path.endswith("__init__.py"))
    if matters or helps or bytes_call(data):
        with suppress(Unreadable):
            text = decode(data)
            if not too_deep(text):
                return [Source(path, text, context=context, helper=helps)]
    return []


def _stem(path: str) -> str:
    """The name by which a file is imported: a package's is its folder's."""
    folder, name = os.path.split(path)
    return os.path.basename(folder) if name == "__init__.py" else name.removesuffix(".py")


def _surround(programs: dict[Settings, list[Source]], centres: Sequence[str], read: Sequence[str], settings_of: SettingsOf) -> None:
    """Add to each program the files around its `centres` that are not in it, and mark those that files out of sight import."""
    neighbours.forget()
    seen = {os.path.realpath(path) for path in read}
    around: set[str] = set()
    for centre in centres:
        count = 0
        for path in _around(centre):
            if count == NEIGHBOURS:
                break
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            with suppress(Unreadable, SettingsError):
                if settings_of(path) == settings_of(centre):
                    found = _read_for_others(path, read_bytes(path), context=True)
                    programs[settings_of(centre)] += found
                    around.update(source.path for source in found)
                    count += len(found)
    around.update(centres)
    for sources in programs.values():
        for place, source in enumerate(sources):
            if source.path in around and any(os.path.realpath(path) not in seen for path in neighbours.importers(source.path)):
                sources[place] = changed(source, imported=True)


def _around(path: str) -> Iterator[str]:
    """What lies around a file, first what tells most: who imports it, what it imports, and the same for who imports it."""
    callers = neighbours.importers(path)
    yield from callers
    yield from neighbours.imported(path)
    above = [other for caller in callers for other in neighbours.importers(caller)]
    yield from above
    for caller in dict.fromkeys((*callers, *above)):
        yield from neighbours.imported(caller)


def _as_program(sources: Sequence[Source], settings: Settings) -> list[Finding]:
    """`_analyse`, with the files under the names by which their imports find each other."""
    names = program_names(source.path for source in sources)
    if not names:
        return _analyse(sources, settings)
    paths = {name: path for path, name in names.items()}

    def written(place: Place) -> Place:
        return changed(place, path=paths.get(place.path, place.path))

    return [
        changed(f, place=written(f.place), trail=tuple(changed(step, place=written(step.place)) for step in f.trail))
        for f in _analyse([changed(source, path=names[source.path]) for source in sources], settings)
    ]


def _compiles(text: str) -> bool:
    """Whether the running Python parses `text`; a cheap guard, after which the analysis has the word."""
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _analyse(sources: Sequence[Source], settings: Settings) -> list[Finding]:
    """The raw findings; if the analysis itself fails, of each file alone, so that one file cannot take down the run."""
    from evallint.analysis import analyse  # imports libcst

    if os.environ.get("EVALLINT_DEBUG"):
        return analyse(sources, settings)
    try:
        return analyse(sources, settings)
    except Exception as error:
        if len(sources) == 1:
            said = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            return [unreadable(sources[0].path, f"evallint itself failed on this file ({said}); please report it")]
    return [finding for source in sources if not source.context for finding in _analyse([source], settings)]


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
