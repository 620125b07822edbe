"""Lapses: what the modules of a program lose of the mode by their own code, file by file, without running anything."""

from __future__ import annotations

from collections.abc import Iterator

from evallint.events import File, Function
from evallint.meaning.built_inside import BuiltInside
from evallint.meaning.facts import Lapse
from evallint.meaning.functional import Functional
from evallint.meaning.hidden_parts import HiddenParts
from evallint.meaning.layers import Layers
from evallint.meaning.mode_methods import ModeMethods
from evallint.meaning.signs import is_unit_test


def survey(layers: Layers) -> list[Lapse]:
    """The lapses in all files of a program in which something may begin."""
    files = layers.project.files.values()
    own = frozenset(c.name for file in files for c in file.classes if layers.project.is_module(c))
    functional = Functional(layers)
    return [lapse for file in files if not file.context for lapse in lapses_in(layers, functional, file, own)]


def lapses_in(layers: Layers, functional: Functional, file: File, own: frozenset[str]) -> Iterator[Lapse]:
    """The lapses in one file; unit tests may do anything."""
    classes = [c for c in file.classes if not is_unit_test(c.path, c.qualname, c.name)]
    methods = [m for c in classes for m in c.methods.values()]
    functions = [f for f in file.functions if "." not in f.qualname and not is_unit_test(f.path, f.qualname, "")]
    run: list[Function] = [*functions, *methods]
    yield from functional.lapses_in(file.path, run)
    yield from BuiltInside(layers, own).lapses_in(run)
    yield from HiddenParts(layers, own).lapses_in(classes)
    yield from ModeMethods(layers.project).lapses_in(classes)
