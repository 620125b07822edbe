"""`evallint rules`: all rules, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from evallint.adapters.parsing import Parser, add_help


def rules_parser() -> Parser:
    """The options of `evallint rules`."""
    parser = Parser("evallint rules", "evallint rules [OPTIONS]", "Lists all rules.")
    said = "full (default): a table; json: with their pages"
    parser.add_argument("--output-format", choices=("full", "json"), default="full", metavar="FORMAT", help=said)
    add_help(parser)
    return parser


def listed(arguments: Sequence[str]) -> int:
    """Print the rules; returns the exit code, and leaves by SystemExit (2) for bad options."""
    options = rules_parser().parse_args(arguments)
    from evallint.rules.pages import listing, rows

    print(json.dumps({"version": 1, "rules": rows()}, indent=2) if options.output_format == "json" else listing())
    return 0
