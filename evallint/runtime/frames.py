"""Which code objects are the user's: what the frames above a forward call stand for."""

from __future__ import annotations

import os
import sysconfig
from types import CodeType
from typing import Final

LIBRARY: Final = 0
"""Installed code, the standard library, or text without a file: says nothing."""
USER: Final = 1
MEANT: Final = 2
"""Torch's own passes over a model that measure nothing: tracing, export, `update_bn`, and compiling."""
CHECKPOINT: Final = 4
"""Reentrant checkpointing: a forward without recording that is run again in the backward."""

COMPILED: Final = 8
"""A call through what `torch.compile` has made."""
END: Final = 16
"""Where the program began: nothing above it is the user's."""

_MEANT = (
    *("jit/_trace.py", "jit/_script.py", "fx/_symbolic_trace.py", "fx/experimental/", "fx/passes/", "export/", "onnx/", "_export/"),
    *("_functorch/_aot_autograd/", "_functorch/aot_autograd.py", "_inductor/", "_dynamo/convert_frame.py"),
)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LAUNCHER = os.path.join(_PACKAGE, "runtime", "launching.py")
_PYTEST = os.path.join("_pytest", "python.py")
_TORCH = f"{os.sep}torch{os.sep}"
MOST_CODES = 50_000


class Codes:
    """The kinds of the code objects met so far, by id (code objects are slow keys: their hash covers their constants)."""

    def __init__(self) -> None:
        self.installed = installed_folders()
        self.kinds: dict[int, int] = {}
        self.users: dict[int, CodeType] = {}
        self.others: list[CodeType] = []

    def kind(self, code: CodeType) -> int:
        """The kind of `code`, which is kept alive so that its id stays its own."""
        found = self._kind(code)
        if found == USER:
            self.users[id(code)] = code
        else:
            if len(self.others) >= MOST_CODES:  # a program that compiles text for ever must not grow
                for old in self.others:
                    self.kinds.pop(id(old), None)
                self.others.clear()
            self.others.append(code)
        self.kinds[id(code)] = found
        return found

    def _kind(self, code: CodeType) -> int:
        path = code.co_filename
        if is_users(path, self.installed):
            return USER
        if path.startswith("<eval_with_key>"):  # the parts of a compiled graph
            return MEANT
        if path == _LAUNCHER or (code.co_name == "pytest_pyfunc_call" and path.endswith(_PYTEST)):
            return END
        if _TORCH in path:
            inside = path.rpartition(_TORCH)[2].replace(os.sep, "/")
            if inside.startswith(_MEANT) or (inside == "optim/swa_utils.py" and code.co_name == "update_bn"):
                return MEANT
            if inside == "utils/checkpoint.py" and code.co_name == "forward":
                return CHECKPOINT
            if inside == "_dynamo/eval_frame.py":
                return COMPILED
        return LIBRARY


def installed_folders() -> tuple[str, ...]:
    """Where the standard library and installed packages lie, each with a separator at its end."""
    paths = sysconfig.get_paths()
    return tuple({os.path.join(paths[name], "") for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def is_users(path: str, installed: tuple[str, ...]) -> bool:
    """Whether a file is the user's: neither installed, nor of the standard library, nor evallint's, nor text without a file."""
    if path.startswith("<"):
        return path.startswith("<ipython-input")
    return not (path.startswith(installed) or "site-packages" in path or "dist-packages" in path or path.startswith(_PACKAGE + os.sep))
