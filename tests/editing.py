"""Edits of programs as people make them while they type: lines come and go, names change, definitions move."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable

Edit = Callable[[list[str], random.Random], None]
_NAME = re.compile(r"[A-Za-z_]\w*")
_TURNS = (
    *((".eval()", ".train()"), (".train()", ".eval()"), ("torch.no_grad()", "torch.enable_grad()"), (".backward()", ".item()")),
    *((".eval()", ".eval"), (".item()", ""), (" = ", " += "), ("with torch.no_grad():", "while torch.no_grad():")),
    *(("if ", "while "), ("return ", "yield "), ("self.", "other."), ("(", "(*"), ("True", "False"), ("None", "0")),
)


def new_line(lines: list[str], chance: random.Random) -> None:
    """A line that does nothing, as deep as one that is there."""
    at = chance.randrange(len(lines))
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    lines.insert(
        at, indent + chance.choice(("count = 1\n", "\n", "# why\n", "print(count)\n", "model.eval()\n", "model.train()\n", '"""\n'))
    )


def no_line(lines: list[str], chance: random.Random) -> None:
    """One line less."""
    del lines[chance.randrange(len(lines))]


def twice(lines: list[str], chance: random.Random) -> None:
    """A line again."""
    at = chance.randrange(len(lines))
    lines.insert(at, lines[at])


def other_name(lines: list[str], chance: random.Random) -> None:
    """A name of the program in the place of another, once."""
    at = chance.choice([number for number, line in enumerate(lines) if _NAME.search(line)] or [-1])
    if at < 0:
        return
    names = sorted({name for line in lines for name in _NAME.findall(line)})
    place = chance.choice([*_NAME.finditer(lines[at])])
    lines[at] = lines[at][: place.start()] + chance.choice((*names, place[0] + "_")) + lines[at][place.end() :]


def renamed(lines: list[str], chance: random.Random) -> None:
    """A name that is defined, everywhere."""
    names = sorted({name for line in lines for name in re.findall(r"(?:def|class) (\w+)", line)})
    if names:
        name = chance.choice(names)
        lines[:] = [re.sub(rf"\b{name}\b", f"{name}_too", line) for line in lines]


def turned(lines: list[str], chance: random.Random) -> None:
    """A word that means something for another."""
    rows = [(at, old, new) for at, line in enumerate(lines) for old, new in _TURNS if old in line]
    if rows:
        at, old, new = chance.choice(rows)
        lines[at] = lines[at].replace(old, new, 1)


def elsewhere(lines: list[str], chance: random.Random) -> None:
    """A top-level statement, or a statement of a class, in another place among its like; twice, at times."""
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    body = chance.choice([body for body in bodies if len(body) > 1] or [[]])
    if not body:
        return
    node, before = chance.sample(body, 2)
    first, last = _first(node), node.end_lineno or node.lineno
    taken, at = lines[first - 1 : last], _first(before) - 1
    if chance.random() < 0.8:
        del lines[first - 1 : last]
        at -= (last - first + 1) * (at >= last)
    lines[at:at] = taken


def _first(node: ast.stmt) -> int:
    return min((each.lineno for each in getattr(node, "decorator_list", ())), default=node.lineno)


EDITS: tuple[Edit, ...] = (new_line, new_line, no_line, twice, other_name, renamed, turned, turned, elsewhere)


def edited(text: str, chance: random.Random) -> str:
    """A text after one edit."""
    lines = text.splitlines(keepends=True) or ["\n"]
    chance.choice(EDITS)(lines, chance)
    return "".join(lines)
