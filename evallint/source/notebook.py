"""Notebooks as one program: the code cells of an `.ipynb` file joined, and the way back from a line to its cell and its file.

The format: https://nbformat.readthedocs.io (version 4). Magics and shell lines are IPython's, not Python's; they are set aside.
"""

from __future__ import annotations

import io
import json
import re
import tokenize
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from json import JSONDecodeError
from typing import Any

from evallint.finding import Finding, Place
from evallint.source.noqa import split_lines
from evallint.source.parsing import compiles, parsed
from evallint.source.reading import Unreadable, unreadable

SUFFIX = ".ipynb"
RUNS_PYTHON = frozenset(("capture", "prun", "time", "timeit"))
"""Cell magics whose cell is Python all the same."""

_HEAD = "# evallint: cell {}"
_HEADS = re.compile(r"^# evallint: cell (\d+)\n", re.MULTILINE)
_ASIDE = re.compile(r"# evallint: aside (\d+)$")
_CELL_MAGIC = re.compile(r"\s*%%(\w*)")
_MAGIC = re.compile(
    r"(?P<indent>\s*)(?:(?P<bound>[\w., \t*]+=\s*)[%!]|[%!?].|(?:pip|conda|mamba|cd|ls|mkdir|matplotlib)\s+[\w./~-]|.*[\w)\]]\?{1,2}\s*$)"
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}")
_LINE = re.compile(r"`[^`]*`|\bline (\d+)")
"""What a message quotes, or a line that it names."""
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell: its 1-based number among all cells, the 1-based line of its head in the joined text, and where its text is kept."""

    number: int
    head: int
    source: str
    start: int
    end: int
    """The characters of the file that hold `source`: a JSON string, or a list of them."""
    places: tuple[tuple[int, int], ...]
    """For each of its lines where that begins in the file: 1-based line and column."""


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook's code. `text` is what is analysed, `shown` the same lines as they are written; before each cell is a line of its own."""

    raw: str
    text: str = ""
    shown: str = ""
    cells: tuple[Cell, ...] = ()
    broken: tuple[Unreadable, ...] = ()
    """Cells that do not parse, with their places in `text`; they are set aside as well."""
    aside: tuple[str, ...] = field(default=(), repr=False)

    def cell(self, line: int) -> Cell:
        """The cell of a 1-based line of `text`. Raises IndexError in a notebook without code."""
        return self.cells[max(bisect_right(self.cells, line, key=lambda cell: cell.head) - 1, 0)]

    def in_cell(self, place: Place) -> Place:
        """A place of `text` by its cell and the lines of that."""
        cell = self.cell(place.line)
        return replace(place, line=place.line - cell.head, end_line=place.end_line - cell.head, cell=cell.number)

    def in_file(self, place: Place) -> Place:
        """A place of `text` by the lines and columns of the file."""
        lines = split_lines(self.shown)
        line, column = self._position(place.line, place.column, lines)
        end_line, end_column = self._position(place.end_line, place.end_column, lines)
        return replace(place, line=line, column=column, end_line=end_line, end_column=end_column)

    def _position(self, line: int, column: int, lines: Sequence[str]) -> tuple[int, int]:
        cell = self.cell(line)
        at, start = cell.places[min(max(line - cell.head - 1, 0), len(cell.places) - 1)]
        before = lines[line - 1][: column - 1] if line <= len(lines) else ""
        return at, start + len(_literal(before, self.raw[cell.start : cell.end])) - 2

    def findings(self, path: str) -> list[Finding]:
        """An EVL900 for each cell that does not parse."""
        return [unreadable(path, error.reason, error.line, error.column) for error in self.broken]

    def written(self, text: str) -> str:
        """The file with its cells as they are in `text`, an edited form of this notebook's: every other character as it was.

        Raises ValueError if `text` is not this notebook with other lines.
        """
        parts = _HEADS.split(text)[1:]
        if [int(number) for number in parts[::2]] != [cell.number for cell in self.cells]:
            raise ValueError("the cells are not those of the notebook")
        raw = self.raw
        for cell, body in reversed(list(zip(self.cells, parts[1::2], strict=True))):
            source = "\n".join(self._restored(line) for line in split_lines(body.removesuffix("\n")))
            if source != cell.source.replace("\r\n", "\n").replace("\r", "\n"):
                raw = raw[: cell.start] + _encoded(raw[cell.start : cell.end], source) + raw[cell.end :]
        return raw

    def _restored(self, line: str) -> str:
        """A line that was set aside as it was, at the indentation that it has now."""
        found = _ASIDE.search(line)
        if found is None:
            return line
        original, code = self.aside[int(found[1])], line[: found.start()]
        indent = code[: len(code) - len(code.lstrip())]
        return indent + original.lstrip() if code.strip() else original


def read_notebook(data: bytes) -> Notebook:
    """The code of a notebook of format 4; that of another language than Python has none. Raises Unreadable."""
    try:
        raw = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"cannot decode the notebook: byte 0x{data[error.start]:02x} is not UTF-8") from None
    try:
        whole = json.loads(raw)
    except (JSONDecodeError, RecursionError) as error:
        place = (error.lineno, error.colno) if isinstance(error, JSONDecodeError) else (1, 1)
        raise Unreadable(f"cannot read the notebook: it is not valid JSON ({getattr(error, 'msg', error)})", *place) from None
    if not isinstance(whole, dict) or not isinstance(whole.get("cells"), list):
        raise Unreadable("cannot read the notebook: it has no cells, as notebooks of format 4 have")
    return _joined(raw) if _language(whole) == "python" else Notebook(raw)


def _language(whole: dict[str, Any]) -> str:
    metadata = whole.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    for table, key in (("language_info", "name"), ("kernelspec", "language")):
        named = about.get(table)
        if isinstance(named, dict) and isinstance(named.get(key), str):
            return str(named[key]).lower()
    return "python"


def _joined(raw: str) -> Notebook:
    text: list[str] = []
    shown: list[str] = []
    cells: list[Cell] = []
    broken: list[Unreadable] = []
    aside: list[str] = []
    line_starts = [match.end() for match in re.finditer(r"\n", raw)]
    for number, members in _cells(raw):
        if "source" not in members or _value(raw, members.get("cell_type")) != "code":
            continue
        start, end = members["source"]
        pieces = [(_value(raw, part), part[0]) for part in (_elements(raw, start) if raw[start] == "[" else [(start, end)])]
        if not all(isinstance(piece, str) for piece, _ in pieces):
            raise Unreadable(f"cannot read the notebook: the source of cell {number} is no text", bisect_right(line_starts, start) + 1)
        source = "".join(piece for piece, _ in pieces)
        ends = list(accumulate(len(piece) for piece, _ in pieces))
        places = []
        for at in (0, *(match.end() for match in _LINE_END.finditer(source))):
            which = min(bisect_right(ends, at), len(pieces) - 1)
            piece, begin = pieces[which] if pieces else ("", start)
            offset = begin + len(_literal(piece[: at - (ends[which] - len(piece))] if pieces else "", raw[start:end])) - 1
            row = bisect_right(line_starts, begin)
            places.append((row + 1, offset - (line_starts[row - 1] if row else 0) + 1))
        head = len(text) + 1
        lines = split_lines(source)
        error, replaced = _python(lines, aside)
        if error is not None:
            broken.append(Unreadable(f"cannot parse cell {number}: {error.msg}", head + (error.lineno or 1), error.offset or 1))
        text += [_HEAD.format(number), *replaced]
        shown += ["", *lines]
        cells.append(Cell(number, head, source, start, end, tuple(places)))
    end_of_file = "\n" if cells else ""
    return Notebook(raw, "\n".join(text) + end_of_file, "\n".join(shown) + end_of_file, tuple(cells), tuple(broken), tuple(aside))


def in_cells(findings: Iterable[Finding], notebooks: Mapping[str, Notebook]) -> list[Finding]:
    """Findings of joined cells with the places that people look at: a cell and its lines. Those of other files are left as they are."""
    return [_moved(finding, notebooks, Notebook.in_cell) for finding in findings] if notebooks else list(findings)


def in_files(findings: Iterable[Finding], notebooks: Mapping[str, Notebook]) -> list[Finding]:
    """Findings of joined cells with the places that a notebook's file has them at; fixes are left out, as they are no edits of it."""
    return [_moved(finding, notebooks, Notebook.in_file) for finding in findings] if notebooks else list(findings)


def _moved(finding: Finding, notebooks: Mapping[str, Notebook], move: Callable[[Notebook, Place], Place]) -> Finding:
    def moved(place: Place) -> Place:
        return move(notebooks[place.path], place) if place.path in notebooks else place

    def said(match: re.Match[str]) -> str:
        step = next((s.place for s in finding.trail if match[1] == str(s.place.line)), None)
        if step is None or step.path not in notebooks:
            return match[0]
        place = notebooks[step.path].in_cell(step)
        return f"cell {place.cell}, line {place.line}"

    trail = tuple(replace(step, place=moved(step.place)) for step in finding.trail)
    message = _LINE.sub(said, finding.message)
    fix, book = finding.fix, notebooks.get(finding.place.path)
    if fix is not None and book is not None:
        head = book.cell(finding.place.line).head
        edits = tuple(replace(edit, start_line=edit.start_line - head, end_line=edit.end_line - head) for edit in fix.edits)
        fix = replace(fix, edits=edits) if move is Notebook.in_cell else None
    return replace(finding, place=moved(finding.place), trail=trail, fix=fix, message=message)


# Cells to Python


def _python(lines: list[str], aside: list[str]) -> tuple[SyntaxError | None, list[str]]:
    """The lines of a cell with what is no Python set aside (onto `aside`), and why the cell does not parse."""

    def away(line: str, instead: str = "") -> str:
        aside.append(line)
        return f"{instead}# evallint: aside {len(aside) - 1}"

    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    magic = _CELL_MAGIC.match(lines[first])
    if magic and magic[1] not in RUNS_PYTHON:
        return None, [away(line) for line in lines]
    if magic is None and compiles("\n".join(lines)):
        return None, lines
    found: list[str] = []
    continued = False
    for number, line in enumerate(lines):
        at_magic = _MAGIC.match(line)
        if continued or (magic and number == first):
            found.append(away(line))
        elif at_magic and not _is_inside(found):
            indent = at_magic["indent"] + (at_magic["bound"] or "").lstrip()
            found.append(away(line, f"{indent}{'None' if at_magic['bound'] else 'pass'}  "))
        else:
            found.append(line)
            continue
        continued = line.rstrip().endswith("\\")
    error = _error(found)
    return error, found if error is None else [away(line) for line in lines]


def _is_inside(lines: Sequence[str]) -> bool:
    """Whether the line after `lines` goes on with a bracket or a string that they have opened."""
    try:
        for _ in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            pass
    except tokenize.TokenError:
        return True
    except SyntaxError:
        return False
    return False


def _error(lines: Sequence[str]) -> SyntaxError | None:
    try:
        parsed("\n".join(lines))
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error) or type(error).__name__)
    return None


# JSON with the places of its values; valid JSON is given


def _cells(raw: str) -> Iterator[tuple[int, dict[str, tuple[int, int]]]]:
    """The cells in their order with the places of their members."""
    top = _members(raw, _after_space(raw, 0))
    for number, (start, _) in enumerate(_elements(raw, top["cells"][0]), 1):
        if raw[start] == "{":
            yield number, _members(raw, start)


def _value(raw: str, place: tuple[int, int] | None) -> Any:
    return None if place is None else _DECODER.raw_decode(raw, place[0])[0]


def _after_space(raw: str, at: int) -> int:
    found = _SPACE.match(raw, at)
    assert found is not None  # it matches the empty text
    return found.end()


def _members(raw: str, at: int) -> dict[str, tuple[int, int]]:
    """The places of the values of the object that begins at `at`, by key; as Python has it, the last of a key counts."""
    found: dict[str, tuple[int, int]] = {}
    at = _after_space(raw, at + 1)
    while raw[at] != "}":
        key, at = _DECODER.raw_decode(raw, at)
        start = _after_space(raw, _after_space(raw, at) + 1)
        end = _DECODER.raw_decode(raw, start)[1]
        found[key] = (start, end)
        at = _after_space(raw, end)
        if raw[at] == ",":
            at = _after_space(raw, at + 1)
    return found


def _elements(raw: str, at: int) -> list[tuple[int, int]]:
    """The places of the elements of the list that begins at `at`."""
    found = []
    at = _after_space(raw, at + 1)
    while raw[at] != "]":
        end = _DECODER.raw_decode(raw, at)[1]
        found.append((at, end))
        at = _after_space(raw, end)
        if raw[at] == ",":
            at = _after_space(raw, at + 1)
    return found


def _encoded(literal: str, source: str) -> str:
    """`source` in JSON as `literal`, which held another text, is written: a string or a list of them, with its line ends and spaces."""
    if "\\r\\n" in literal:
        source = source.replace("\n", "\r\n")
    if not literal.startswith("["):
        return _literal(source, literal)
    parts = _elements(literal, 0)
    old = [(str(_value(literal, part)), literal[part[0] : part[1]]) for part in parts]
    kept: list[str] = []  # an element that holds several lines stays one, before the edit and after it
    while old and source.startswith(old[0][0]) and old[0][0].endswith("\n"):
        kept.append(old[0][1])
        source = source[len(old[0][0]) :]
        old = old[1:]
    after: list[str] = []
    while old and old[-1][0] and source.endswith(old[-1][0]) and (source == old[-1][0] or source[: -len(old[-1][0])].endswith("\n")):
        after.insert(0, old[-1][1])
        source = source[: -len(old[-1][0])]
        old = old[:-1]
    known = dict(old)
    middle = [known.get(line) or _literal(line, literal) for line in source.splitlines(keepends=True)]
    opening = literal[1 : parts[0][0]] if parts else "\n"
    between = literal[parts[0][1] : parts[1][0]] if len(parts) > 1 else "," + opening
    closing = literal[parts[-1][1] : -1] if parts else "\n"
    return f"[{opening}{between.join([*kept, *middle, *after])}{closing}]"


def _literal(text: str, beside: str) -> str:
    """`text` as a JSON string; other letters than ASCII are escaped if they are in `beside`."""
    return json.dumps(text, ensure_ascii=beside.isascii() and _ESCAPE.search(beside) is not None)
