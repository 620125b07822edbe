"""Which files have `# noqa` comments that silence nothing (EVL910), also among those in which nothing else can be found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from evallint.finding import Finding
from evallint.gathering import Entry, settings_by_file
from evallint.rules.registry import RULES
from evallint.settings import Settings
from evallint.source.patterns import ignored_codes
from evallint.source.reading import UNREADABLE, Unreadable, decode, read_bytes
from evallint.source.unused_noqa import UNUSED, bytes_silence, unused_noqa
from evallint.source.walking import Problem, SettingsIn

_CODES = (*RULES, UNREADABLE[0])


def asked_for(settings: Settings) -> bool:
    """Whether comments that silence nothing are to be told."""
    return settings.selects(UNUSED[0]) and settings.shows("high", "warning")


def unused_in_text(path: str, text: str, found: Sequence[Finding], settings: Settings) -> list[Finding]:
    """The EVL910 findings of one file; `found` is all that was found in it, before anything is silenced or selected."""
    if not asked_for(settings):
        return []
    silenced = ignored_codes(settings, path)
    if UNUSED[0].startswith(silenced):
        return []

    def judged(prefix: str) -> bool:
        return all(settings.selects(code) and not code.startswith(silenced) for code in _CODES if code.startswith(prefix))

    return unused_noqa(path, text, found, judged)


def unused_in_files(entries: Iterable[Entry | Problem], settings_in: SettingsIn, found: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """The EVL910 findings of what was read, each with its file's text; `found` is all that was found in the files. Raises SettingsError."""
    by_path: dict[str, list[Finding]] = {}
    for finding in found:
        by_path.setdefault(finding.place.path, []).append(finding)
    settings_of = settings_by_file(settings_in)
    seen: set[str] = set()
    for entry in entries:
        path = entry.path
        if isinstance(entry, Problem) or path in seen or path.endswith(".ipynb") or not asked_for(settings_of(path)):
            continue
        seen.add(path)
        with suppress(Unreadable):
            data = read_bytes(path) if entry.data is None else entry.data
            if bytes_silence(data):
                text = decode(data)
                yield from ((f, text) for f in unused_in_text(path, text, by_path.get(path, ()), settings_of(path)))
