"""`--fix` and `--diff`: files rewritten, or what would be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from difflib import unified_diff
from functools import partial
from pathlib import Path

from evallint.adapters.output import put
from evallint.fixes.edits import lines_of, with_edits
from evallint.linting import Mend, Report
from evallint.report.amounts import many
from evallint.report.formats import FIXES_SHOWN
from evallint.report.style import Style, style_for
from evallint.source.notebook import SUFFIX, read_notebook
from evallint.source.reading import Unreadable, decode, encoded_like, read_bytes
from evallint.source.unused_noqa import UNUSED
from evallint.source.walking import Problem


def asked(options: argparse.Namespace) -> Mend | None:
    """What is done to the findings; None where nobody fixes anything or reads of fixes."""
    from evallint import fixing

    if options.fix or options.diff:
        return partial(fixing.mend, unsafe=options.unsafe_fixes)
    return fixing.offer if options.output_format in FIXES_SHOWN else None


def tidy(report: Report) -> None:
    """Take the comments that silence nothing out of the texts that `mend` did not come to."""
    unused = [f for f in report.findings if f.code == UNUSED[0] and f.fix]
    for path in {f.place.path for f in unused}:
        text = report.texts[path]
        after = with_edits(text, [edit for f in unused if f.place.path == path and f.fix for edit in f.fix.edits])
        report.rewritten[path] = (report.rewritten.get(path, (text,))[0], after)
    report.fixed += unused
    report.findings = [f for f in report.findings if f not in unused]


def show(report: Report, unsafe: bool) -> None:
    """Print what `--fix` would change, as `patch` takes it."""
    style = style_for(sys.stdout)
    for path, (before, after) in sorted(report.rewritten.items()):
        if path.endswith(SUFFIX):
            before, after = _of_notebook(read_bytes(path), before, after)
        for line in unified_diff(lines_of(before), lines_of(after), path, path):
            sys.stdout.write(_painted(line, style))
            if not line.endswith(("\r", "\n")):
                sys.stdout.write("\n\\ No newline at end of file\n")
    _sum_up(report, "Would fix", unsafe)


def _painted(line: str, style: Style) -> str:
    colour = {"+": "32", "-": "31", "@": "36"}.get(line[0], "")
    text = line.rstrip("\r\n")
    return style.paint(text, colour) + line[len(text) :] if colour and style.coloured else line


def apply(report: Report, given: Mapping[str, bytes], unsafe: bool) -> list[Problem]:
    """Write the fixed files, and the text of standard input to standard output; says what could not be written.

    `given` are the bytes of texts that are no files.
    """
    problems = []
    for path, data in given.items():
        sys.stdout.flush()
        sys.stdout.buffer.write(_encoded(path, data, *report.rewritten[path]) if path in report.rewritten else data)
        sys.stdout.buffer.flush()
    for path, (before, after) in report.rewritten.items():
        if path not in given:
            try:
                rewrite(path, before, after)
            except Unreadable as error:
                problems.append(Problem(path, f"cannot be fixed: {error.reason}"))
            except OSError as error:
                problems.append(Problem(path, f"cannot be written: {error.strerror or error}"))
    _sum_up(report, "Fixed", unsafe)
    return problems


def rewrite(path: str, before: str, after: str) -> None:
    """Give a file another text, at once; its encoding, permissions and links stay. Raises OSError, and Unreadable if it has changed."""
    text = _encoded(path, read_bytes(path), before, after)
    try:
        put(path, text)
    except PermissionError:  # a folder in which nothing may be made
        Path(path).write_bytes(text)


def _encoded(path: str, data: bytes, before: str, after: str) -> bytes:
    """The bytes of a file with another text, given those with the text `before`. Raises Unreadable."""
    if path.endswith(SUFFIX):
        return encoded_like(data, _of_notebook(data, before, after)[1])
    if decode(data) != before:
        raise Unreadable("it has changed in the meantime")
    return encoded_like(data, after)


def _of_notebook(data: bytes, before: str, after: str) -> tuple[str, str]:
    """The text of a notebook's file for that of its cells, before and after. Raises Unreadable."""
    book = read_notebook(data)
    if book.text != before:
        raise Unreadable("it has changed in the meantime")
    return book.raw, book.written(after)


def _sum_up(report: Report, done: str, unsafe: bool) -> None:
    """One line to standard error."""
    files = len(report.rewritten)
    more = 0 if unsafe else sum(f.fix is not None for f in report.findings)
    row = f"{done} {many(len(report.fixed), 'finding')} in {many(files, 'file')}" if report.fixed else "Nothing to fix"
    print(row + (f" ({more} more with --unsafe-fixes)" if more else ""), file=sys.stderr)
