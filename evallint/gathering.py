"""Paths to programs: what is read, what is passed over, and which files belong together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from dataclasses import replace as changed
from hashlib import blake2b
from typing import Any

from evallint.configuration import find_settings
from evallint.finding import Finding, Place
from evallint.settings import Settings, SettingsError, replace
from evallint.source import neighbours, notebook
from evallint.source.file import Source
from evallint.source.naming import program_names
from evallint.source.parsing import compiles
from evallint.source.parts import parts
from evallint.source.patterns import excluded_with_parents
from evallint.source.reading import Unreadable, decode, read_bytes
from evallint.source.screening import bytes_call, bytes_help, bytes_matter, text_matters
from evallint.source.unused_noqa import UNUSED, bytes_silence
from evallint.source.walking import Problem, SettingsIn, find_files

Say = Callable[[str], None]
SettingsOf = Callable[[str], Settings]

NEIGHBOURS = 40
"""Files that are read around one that the user named."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text to lint in place of a file, under the name `path`: standard input, or an editor's buffer, which is decoded already."""

    path: str
    data: bytes | str
    context: bool = False
    """It is not to be linted, but read where the file would be."""

    @property
    def encoded(self) -> bytes:
        """The text as bytes."""
        return self.data.encode("utf-8", "surrogatepass") if isinstance(self.data, str) else self.data


@dataclass(frozen=True, slots=True)
class Past:
    """The program before files changed: for each of these (by the real path that it has now) what it was, or None; and files now gone."""

    was: Mapping[str, Text | None]
    gone: Sequence[Text] = ()

    def read(self, path: str) -> bytes:
        """What a file said. Raises Unreadable."""
        real = os.path.realpath(path)
        if real not in self.was:
            return read_bytes(path)
        text = self.was[real]
        if text is None:
            raise Unreadable("cannot read the file: there was none")
        return text.encoded


_PRESENT = Past({})


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file to read: its name in the program, whether the user named it, what it says if that is known, and where it is now."""

    path: str
    named: bool
    data: bytes | str | None = None
    now: str = ""


@dataclass(slots=True)
class Gathered:
    """The files to analyse, by their settings; what could not be read; and how many files were seen and kept."""

    programs: dict[Settings, list[Source]] = field(default_factory=dict)
    raw: dict[Settings, list[Finding]] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    notebooks: dict[str, notebook.Notebook] = field(default_factory=dict)
    files: int = 0
    parsed: int = 0
    contents: bytes = b""
    """The digest of all that was read."""
    commented: dict[Settings, dict[str, str]] = field(default_factory=dict)
    """The texts of files that may have comments which silence nothing, where that is asked for."""
    paths: dict[str, str] = field(default_factory=dict)
    """For each name that a file has in its program, its path, where they differ."""

    def parts(self, sources: Sequence[Source], settings: Settings) -> list[list[Source]]:
        """The parts of a program, with the files under the names by which their imports find each other."""
        names = program_names(source.path for source in sources)
        self.paths.update((name, path) for path, name in names.items())
        named = [changed(source, path=names[source.path]) for source in sources] if names else sources
        return parts(named, _libraries(settings))

    def as_given(self, findings: Iterable[Finding]) -> list[Finding]:
        """Findings with the files named as the user names them, and without what only the analysis' own names can mend."""
        if not self.paths:
            return list(findings)
        return [
            changed(f, place=self._written(f.place), trail=tuple(changed(s, place=self._written(s.place)) for s in f.trail), repair=None)
            for f in findings
        ]

    def written(self, name: str) -> str:
        """The path of a file by its name in its program."""
        return self.paths.get(name, name)

    def _written(self, place: Place) -> Place:
        return changed(place, path=self.written(place.path))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a run over folders is told apart by before anything of it is worked out, and what it says beside the findings."""

    key: str
    contents: bytes
    settings: tuple[Settings, ...]
    files: int
    errors: list[Problem]


def _libraries(settings: Settings) -> frozenset[str]:
    from evallint.meaning.libraries import extended

    return extended(settings.knowledge()).libraries


def settings_by_folder(fixed: Settings | None, changes: Mapping[str, Any]) -> SettingsIn:
    """The settings for a folder's files: `fixed`, or those that it has with `changes`."""
    known: dict[str, Settings] = {}

    def settings_in(folder: str) -> Settings:
        if folder not in known:
            known[folder] = fixed or replace(find_settings(folder), changes)
        return known[folder]

    return settings_in


def settings_by_file(settings_in: SettingsIn) -> SettingsOf:
    """The settings for a file, by those for folders."""
    known: dict[str, Settings] = {}

    def settings_of(path: str) -> Settings:
        folder = os.path.dirname(path)
        if folder not in known:  # the files of a folder share them
            known[folder] = settings_in(os.path.realpath(folder or "."))
        return known[folder]

    return settings_of


def _digest(path: str, data: bytes) -> bytes:
    return blake2b(path.encode("utf-8", "surrogateescape") + b"\0" + data, digest_size=16).digest()


def fingerprint(
    paths: Iterable[str], settings_in: SettingsIn, texts: Sequence[Text], say: Say, force_exclude: bool = False
) -> Fingerprint | None:
    """What the answer for `paths` depends on; None where files are named themselves: then it depends on others around them."""
    settings_of = settings_by_file(settings_in)
    used: dict[Settings, int] = {}
    contents = blake2b(digest_size=16)
    errors: list[Problem] = []
    files = 0
    if texts:
        return None
    for found in find_files(paths, settings_in, force_exclude=force_exclude):
        if isinstance(found, Problem):
            errors.append(found)
            continue
        if found.named:
            return None
        files += 1
        if files % 100 == 0:
            say(f"reading: {files} files")
        number = used.setdefault(settings_of(found.path), len(used))
        try:
            contents.update(_digest(found.path, read_bytes(found.path)) + b"%d" % number)
        except Unreadable as error:
            contents.update(_digest(found.path, error.reason.encode()) + b"?")
    asked = repr([settings.asked() for settings in used])
    key = blake2b(contents.digest() + os.getcwd().encode("utf-8", "surrogateescape") + asked.encode(), digest_size=20).hexdigest()
    return Fingerprint(key, contents.digest(), tuple(used), files, errors)


def gather(
    paths: Iterable[str],
    settings_in: SettingsIn,
    texts: Sequence[Text],
    say: Say,
    past: Past = _PRESENT,
    *,
    force_exclude: bool = False,
) -> Gathered:
    """Read the files of `paths` and those around the ones that are named themselves. Raises SettingsError.

    With `past`, as they were then; all files that it tells of are read as well.
    """
    settings_of = settings_by_file(settings_in)
    gathered = Gathered()
    programs, raw = gathered.programs, gathered.raw
    helpers: list[tuple[str, bytes]] = []
    callers: list[tuple[_Entry, frozenset[str]]] = []
    read: list[str] = []
    centres: list[str] = []
    used: dict[Settings, int] = {}
    contents = blake2b(digest_size=16)

    def take(entry: _Entry) -> None:
        gathered.files += 1
        path, named, given = entry.path, entry.named, entry.data
        read.append(entry.now or path)
        number = used.setdefault(settings_of(path), len(used))
        data = None if given is None else _encoded(given)
        try:
            if data is None:
                data = read_bytes(path)
            contents.update(_digest(path, data) + b"%d" % number)
            matters = bytes_matter(data)
            if path.endswith(notebook.SUFFIX):
                if matters or named:
                    take_notebook(entry, data)
                return
            if bytes_silence(data) and settings_of(path).selects(UNUSED[0]):
                with suppress(Unreadable):
                    gathered.commented.setdefault(settings_of(path), {}).setdefault(path, decode(data))
            if not matters and (bytes_help(data) or path.endswith("__init__.py")):
                helpers.append((path, data))
            elif not matters and (imported := bytes_call(data)):
                callers.append((entry, imported))
            if not matters and not named:
                return
            text = _checked(given) if isinstance(given, str) else decode(data)
            # a file that the user named is told to be broken even where it has nothing to do with PyTorch
            if not matters and compiles(text):
                return
            programs.setdefault(settings_of(path), []).append(Source(path, text))
            gathered.parsed += 1
            if named:
                centres.append(entry.now or path)
        except Unreadable as error:
            if data is None:
                contents.update(_digest(path, error.reason.encode()) + b"?")
            raw.setdefault(settings_of(path), []).append(error.finding(path))

    def take_notebook(entry: _Entry, data: bytes) -> None:
        path, book = entry.path, notebook.read_notebook(data)
        if entry.named or text_matters(book.text):
            gathered.notebooks[path] = book
            raw.setdefault(settings_of(path), []).extend(book.findings(path))
            programs.setdefault(settings_of(path), []).append(Source(path, book.text))
            gathered.parsed += 1
            if entry.named:
                centres.append(entry.now or path)

    for entry in _entries(paths, settings_in, texts, past, force_exclude):
        if isinstance(entry, Problem):
            gathered.errors.append(entry)
        else:
            take(entry)
            if gathered.files % 100 == 0:
                say(f"reading: {gathered.files} files")
    for path, data in helpers:
        if settings_of(path) in programs:
            programs[settings_of(path)] += _read_for_others(path, data, context=False)
    for caller, imported in callers:
        path = caller.path
        sources = programs.get(settings_of(path), [])
        if any(_stem(source.path) in imported for source in sources):
            with suppress(Unreadable):
                sources += _read_for_others(path, read_bytes(path) if caller.data is None else caller.data, context=False)
    if centres:
        _surround(programs, centres, read, settings_of, past, texts)
    gathered.contents = contents.digest()
    return gathered


def _encoded(given: bytes | str) -> bytes:
    return given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given


def _checked(text: str) -> str:
    """A decoded text, of which what `decode` finds as well is told in its words. Raises Unreadable."""
    if "\0" in text:
        return decode(text.encode("utf-8", "surrogatepass"))
    return text.removeprefix("\ufeff")


def _entries(
    paths: Iterable[str], settings_in: SettingsIn, texts: Sequence[Text], past: Past, force_exclude: bool
) -> Iterator[_Entry | Problem]:
    """The files of `paths` as they were in the past; last those of it that are not among them."""
    settings_of = settings_by_file(settings_in)
    for text in texts:
        if not text.context and not (force_exclude and excluded_with_parents(settings_of(text.path), text.path)):
            yield _Entry(text.path, True, text.data)
    others = dict(past.was)
    for found in find_files(paths, settings_in, force_exclude=force_exclude):
        real = os.path.realpath(found.path) if past.was else ""
        if isinstance(found, Problem):
            yield found
        elif real not in past.was:
            yield _Entry(found.path, found.named)
        elif (then := others.pop(real)) is not None:
            yield _Entry(then.path, found.named, then.data, found.path)
    for then in (*others.values(), *past.gone):
        if then is not None and not excluded_with_parents(settings_of(then.path), then.path):
            yield _Entry(then.path, False, then.data)


def _read_for_others(path: str, given: bytes | str, *, context: bool) -> list[Source]:
    """A file that is read for the sake of others, unless it cannot be read or has nothing for them."""
    data = _encoded(given)
    matters = bytes_matter(data)
    helps = not matters and (bytes_help(data) or path.endswith("__init__.py"))
    if matters or helps or bytes_call(data):
        with suppress(Unreadable):
            return [Source(path, _checked(given) if isinstance(given, str) else decode(data), context=context, helper=helps)]
    return []


def _stem(path: str) -> str:
    """The name by which a file is imported: a package's is its folder's."""
    folder, name = os.path.split(path)
    return os.path.basename(folder) if name == "__init__.py" else name.removesuffix(".py")


def _surround(
    programs: dict[Settings, list[Source]],
    centres: Sequence[str],
    read: Sequence[str],
    settings_of: SettingsOf,
    past: Past,
    texts: Sequence[Text],
) -> None:
    """Add to each program the files around its `centres` that are not in it, and mark those that files out of sight import."""
    neighbours.forget()
    given = {os.path.realpath(text.path): text.data for text in texts}
    unsaved = tuple((path, _encoded(data)) for path, data in given.items())
    seen = {os.path.realpath(path) for path in read}
    around: set[str] = set()
    for centre in centres:
        count = 0
        for path in _around(centre, unsaved):
            if count == NEIGHBOURS:
                break
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            with suppress(Unreadable, SettingsError):
                if settings_of(path) == settings_of(centre):
                    found = _read_for_others(path, given[real] if real in given else past.read(path), context=True)
                    programs.setdefault(settings_of(centre), []).extend(found)
                    around.update(source.path for source in found)
                    count += len(found)
    around.update(centres)
    for sources in programs.values():
        for place, source in enumerate(sources):
            if source.path in around and any(os.path.realpath(path) not in seen for path in neighbours.importers(source.path, unsaved)):
                sources[place] = changed(source, imported=True)


def _around(path: str, unsaved: neighbours.Unsaved) -> Iterator[str]:
    """What lies around a file, first what tells most: who imports it, what it imports, and the same for who imports it."""
    callers = neighbours.importers(path, unsaved)
    yield from callers
    yield from neighbours.imported(path, unsaved)
    above = [other for caller in callers for other in neighbours.importers(caller, unsaved)]
    yield from above
    for caller in dict.fromkeys((*callers, *above)):
        yield from neighbours.imported(caller, unsaved)
