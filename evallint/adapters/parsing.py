"""The parser of every command: help that fits 80 columns, and a hint where an option or a command is nearly right."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

WIDTH = 80


class Parser(argparse.ArgumentParser):
    """An argparse parser without abbreviations, which exits with 2 and a hint on a mistake."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str | None = None) -> None:
        plain: dict[str, Any] = {"color": False} if sys.version_info >= (3, 14) else {}
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=27, width=WIDTH),
            allow_abbrev=False,
            add_help=False,
            **plain,
        )

    def error(self, message: str) -> NoReturn:
        """Say how the command is used and what is wrong; exit with 2."""
        unknown = re.match(r"unrecognized arguments: (-[^ =]+)", message)
        near = nearest(unknown[1], self._option_string_actions) if unknown else ""
        hint = f" (did you mean {near}?)" if near else ""
        super().error(message + hint)


def add_help(group: argparse._ActionsContainer) -> None:
    """`--help`, in the group where it is to stand."""
    group.add_argument("-h", "--help", action="help", help="show this message")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is nearly `word`; else nothing."""
    from difflib import get_close_matches  # asked after a mistake alone

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.7)), "")
