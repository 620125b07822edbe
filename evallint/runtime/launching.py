"""Run a script or a module as Python itself would: argv, `__main__`, path, streams, exit code and traceback are the program's own."""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any


class NoProgram(Exception):
    """There is nothing to run; the text says why, as Python would."""


@dataclass(slots=True)
class Program:
    """A program that can be run: its file as Python would call it, and how it was named."""

    path: str
    name: str
    """The module's dotted name, or the script as written."""
    is_module: bool


def find_script(name: str) -> Program:
    """The script at a path; of a folder, its `__main__.py`. Raises NoProgram."""
    path = os.path.join(name, "__main__.py") if os.path.isdir(name) else name
    if not os.path.isfile(path):
        wanted = "__main__.py in " if os.path.isdir(name) else ""
        raise NoProgram(f"cannot find {wanted}{name}")
    return Program(os.path.abspath(path), name, is_module=False)


def locate_module(name: str) -> str | None:
    """The file of a module, without importing its packages, as they would run."""
    parts = name.split(".")
    for base in ["", *sys.path]:
        place = os.path.join(base, *parts)
        for candidate in (place + ".py", os.path.join(place, "__main__.py")):
            if os.path.isfile(candidate):
                return candidate
    return None


def run_script(program: Program, arguments: Sequence[str]) -> None:
    """Execute a script; its exceptions come out as they are."""
    argv = [program.name, *arguments]
    if os.path.isdir(program.name):
        _prepare(ModuleType("__main__"), argv, os.path.abspath(program.name))
        return _execute(lambda: _as_main("__main__", False))
    main = ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", program.path)
    main.__dict__.update(__file__=program.path, __builtins__=builtins, __cached__=None, __loader__=loader)
    _prepare(main, argv, os.path.dirname(os.path.realpath(program.path)))
    code = compile(Path(program.path).read_bytes(), program.path, "exec", dont_inherit=True)
    _execute(lambda: exec(code, main.__dict__))


def run_module(name: str, arguments: Sequence[str]) -> None:
    """Execute a module or a package's `__main__`; raises NoProgram if there is none."""
    _prepare(ModuleType("__main__"), ["-m", *arguments], os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None and importlib.util.find_spec(f"{name}.__main__") is None:
            raise NoProgram(f"No module named {name}.__main__; {name!r} is a package and cannot be directly executed")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise NoProgram(f"Error while finding module specification for {name!r} ({type(error).__name__}: {error})") from None
    if spec is None:
        raise NoProgram(f"No module named {name}")
    _execute(lambda: _as_main(name, True))


# what `python -m` itself calls: with it the program's traceback has the very lines that it has without us
_as_main: Callable[[str, bool], object] = runpy._run_module_as_main  # type: ignore[attr-defined]


def _prepare(main: ModuleType, argv: list[str], folder: str) -> None:
    sys.modules["__main__"] = main
    sys.argv = argv
    if not getattr(sys.flags, "safe_path", False) and sys.path:
        sys.path[0] = folder


def _execute(program: Callable[[], object]) -> None:
    program()


def own_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """What of a traceback is the program's: what comes after `_execute`, or nothing where the program did not begin."""
    while traceback is not None:
        if traceback.tb_frame.f_code is _execute.__code__:
            return traceback.tb_next and traceback.tb_next.tb_next  # what it calls is ours as well
        traceback = traceback.tb_next
    return None


def show(error: BaseException) -> None:
    """Print the traceback as Python would at the program's end, and keep Python from printing another one of ours."""
    own = own_traceback(error.__traceback__)
    sys.excepthook(type(error), error.with_traceback(own), own)

    def silent(*_: Any) -> None:
        pass

    sys.excepthook = silent
