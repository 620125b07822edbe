"""`evallint server`: the language server on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from evallint.adapters.parsing import Parser, add_help

_EPILOG = """An editor starts it and speaks the Language Server Protocol with it over
standard input and output. It needs `pip install 'evallint[lsp]'`. Its
initialization options are keys of the settings: {"confidence": "low"}."""


def server_parser() -> Parser:
    """The parser of the command."""
    parser = Parser("evallint server", "evallint server", "Shows findings in editors, as one types.", _EPILOG)
    parser.add_argument("--stdio", action="store_true", help="what is done anyway; editors say so")
    add_help(parser)
    return parser


def serve(argv: Sequence[str]) -> int:
    """`evallint server` with the arguments after `server`; the exit code is 0 after an orderly end, 2 if it cannot begin, else 1."""
    server_parser().parse_args(list(argv))
    try:
        from evallint.adapters.language_server import run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol", "cattrs", "attrs"):
            raise
        print("evallint: error: the language server needs pygls: pip install 'evallint[lsp]'", file=sys.stderr)
        return 2
    return run()
