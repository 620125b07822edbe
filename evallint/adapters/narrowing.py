"""The options that leave out what is not new: a diff, and a baseline."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evallint.adapters.settings_options import Chosen
    from evallint.changes.baseline import Entry
    from evallint.changes.placing import Diff
    from evallint.finding import Finding
    from evallint.linting import Report

Lint = Callable[..., "Report"]
"""`lint_paths` for the run's paths and options; takes keywords that change them."""

EVERYTHING: dict[str, Any] = {
    **{"select": (), "ignore": (), "extend_select": ("EVL910",), "per_file_ignores": ()},
    **{"confidence": "low", "severity": "note"},
}
"""Settings by which all is shown."""


class CannotNarrow(Exception):
    """A diff or a baseline that cannot be used; the message is fit to show."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was read of a diff and a baseline before the linting."""

    diff: Diff | None = None
    entries: Sequence[Entry] | None = None


def add_narrowing(parser: argparse.ArgumentParser) -> None:
    """The options, as a group of their own."""
    group = parser.add_argument_group("only what is new")
    diffs = group.add_mutually_exclusive_group()
    diffs.add_argument("--diff-base", metavar="REV", help="only what changed since the branch left REV (git)")
    diffs.add_argument("--diff-stdin", action="store_true", help="only what the diff on standard input brought")
    baselines = group.add_mutually_exclusive_group()
    baselines.add_argument("--baseline", metavar="FILE", help="leave out the old findings that FILE lists")
    baselines.add_argument("--write-baseline", metavar="FILE", help="write all findings there, and exit with 0")
    group.add_argument("--prune-baseline", action="store_true", help="take off --baseline what is found no more")


def read(options: argparse.Namespace, paths: Sequence[str]) -> Wanted:
    """What the options ask for, read before the work. Raises CannotNarrow."""
    compared = options.diff_base is not None or options.diff_stdin
    if (options.fix or options.diff) and (compared or options.baseline is not None or options.write_baseline is not None):
        raise CannotNarrow(f"--{'fix' if options.fix else 'diff'} mends old findings as well: it goes with no diff and no baseline")
    if options.prune_baseline and options.baseline is None:
        raise CannotNarrow("--prune-baseline needs --baseline FILE")
    if compared and options.write_baseline is not None:
        raise CannotNarrow("--write-baseline lists all findings: it goes with no diff")
    if compared and "-" in options.paths:
        raise CannotNarrow("a text on standard input (-) goes with no diff: that compares files")
    entries = None
    if options.baseline is not None:
        from evallint.changes.baseline import BaselineError, read_baseline

        try:
            entries = read_baseline(options.baseline)
        except BaselineError as error:
            raise CannotNarrow(str(error)) from None
    if not compared:
        return Wanted(None, entries)
    from evallint.changes.diff import DiffError

    try:
        return Wanted(_diff_of_stdin(paths) if options.diff_stdin else _diff_since(options.diff_base, paths), entries)
    except DiffError as error:
        raise CannotNarrow(f"{'--diff-stdin' if options.diff_stdin else '--diff-base'}: {error}") from None


def _diff_since(revision: str, paths: Sequence[str]) -> Diff:
    from evallint.changes import git
    from evallint.changes.diff import DiffError
    from evallint.changes.placing import placed

    top = git.top(_start(paths))
    if top is None:
        raise DiffError(f"{paths[0]} is in no git repository (--diff-stdin takes any unified diff)")
    inside = [os.path.relpath(os.path.realpath(path), top) for path in paths]
    for path, seen in zip(paths, inside, strict=True):
        if seen.split(os.sep)[0] == os.pardir:
            raise DiffError(f"{path} is not in the repository {top}")
    files = [seen for path, seen in zip(paths, inside, strict=True) if os.path.isfile(path)]
    return placed(git.changes_since(revision, top, files), [top], paths)


def _diff_of_stdin(paths: Sequence[str]) -> Diff:
    from evallint.changes import git
    from evallint.changes.diff import DiffError, parse
    from evallint.changes.placing import placed

    top = None
    with suppress(DiffError):  # it need not be git's
        top = git.top(_start(paths))
    return placed(parse(sys.stdin.buffer.read()), [folder for folder in (top, os.getcwd()) if folder is not None], paths)


def _start(paths: Sequence[str]) -> str:
    """The folder whose repository is meant: that of the first path, unless git is told."""
    folder = paths[0] if os.path.isdir(paths[0]) else os.path.dirname(paths[0]) or "."
    return folder if os.path.isdir(folder) and "GIT_DIR" not in os.environ else "."


def narrowed(
    report: Report,
    wanted: Wanted,
    options: argparse.Namespace,
    given: Chosen,
    paths: Sequence[str],
    lint: Lint,
) -> tuple[Report, list[Entry]]:
    """What of a report is new, and the entries of the baseline that can be taken off it.

    `lint` makes the report anew: as it was in the `past`, or with all that the settings hide.
    """
    hidden: set[Finding] = set()
    stale: list[Entry] = []
    if wanted.entries is not None:
        hidden, stale = _old(report, wanted.entries, options, given, paths, lint)
    if wanted.diff is not None:
        from evallint.changes.selection import brought

        report, fits = brought(report, wanted.diff, paths, lambda past: lint(past=past, mend=None))
        if not fits:
            tell("the diff does not lead to the files as they are, so findings are told from old ones by its lines alone")
    kept = [number for number, finding in enumerate(report.findings) if finding not in hidden]
    anchors = [report.anchors[number] for number in kept] if report.anchors else []
    return replace(report, findings=[report.findings[number] for number in kept], anchors=anchors), stale


def _old(
    report: Report, entries: Sequence[Entry], options: argparse.Namespace, given: Chosen, paths: Sequence[str], lint: Lint
) -> tuple[set[Finding], list[Entry]]:
    """The findings that a baseline lists, and the entries of it that nothing has any more."""
    from evallint.changes.baseline import match, real_path
    from evallint.gathering import settings_by_folder
    from evallint.source.walking import Found, find_files

    @cache
    def linted() -> frozenset[str]:
        settings_in = settings_by_folder(given.settings, given.changes)
        files = find_files(paths, settings_in, force_exclude=options.force_exclude)
        names = [found.path for found in files if isinstance(found, Found)]
        return frozenset(map(os.path.realpath, [*names, *([options.stdin_filename] if options.stdin_filename else [])]))

    def looked_at(path: str) -> bool:
        """Whether the run saw a file, or saw that it is gone."""
        tops = [os.path.join(os.path.realpath(one), "") for one in paths]
        return path in linted() or (not os.path.exists(path) and path.startswith(tuple(tops)))

    had, left = match(report, entries, options.baseline, linted)
    hidden = {finding for finding, old in zip(report.findings, had, strict=True) if old}
    left = [entry for entry in left if looked_at(real_path(entry, options.baseline))]
    if left and not report.errors:
        # what the settings hide today is there all the same
        _, gone = match(lint(changes={**given.changes, **EVERYTHING}, mend=None), entries, options.baseline, linted)
        left = [entry for entry in left if entry in gone]
    return hidden, [] if report.errors else left


def prune(stale: Sequence[Entry], wanted: Wanted, options: argparse.Namespace) -> None:
    """Say which entries of the baseline are stale, and take them off it if that is asked for. Raises CannotWrite."""
    if not stale:
        return
    entries = "1 entry" if len(stale) == 1 else f"{len(stale)} entries"
    if not options.prune_baseline:
        verb = "matches" if len(stale) == 1 else "match"
        tell(f"{entries} of {options.baseline} {verb} nothing any more (--prune-baseline removes them)")
        return
    from evallint.adapters.output import write
    from evallint.changes.baseline import dumped

    left = Counter(wanted.entries or ())
    left.subtract(stale)
    write(options.baseline, dumped(left.elements()))
    tell(f"{entries} of {options.baseline} removed")


def write_baseline(report: Report, file: str) -> None:
    """Write a baseline of all findings. Raises CannotWrite."""
    from evallint.adapters.output import write
    from evallint.changes.baseline import dumped, entries_of

    write(file, dumped(entries_of(report, file)))
    tell(f"{len(report.findings)} findings written to {file}" if len(report.findings) != 1 else f"1 finding written to {file}")


def tell(message: str) -> None:
    """A line on standard error that is no failure."""
    print(f"evallint: {message}", file=sys.stderr)
