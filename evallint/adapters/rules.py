"""`evallint rules`: all rules, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Print the rules; returns the exit code, and leaves by SystemExit (2) for bad options."""
    parser = argparse.ArgumentParser(prog="evallint rules", description="Lists all rules.", allow_abbrev=False)
    parser.add_argument("--output-format", choices=("full", "json"), default="full", help="full (default): a table; json: with their pages")
    options = parser.parse_args(arguments)
    from evallint.rules.pages import listing, rows

    print(json.dumps({"version": 1, "rules": rows()}, indent=2) if options.output_format == "json" else listing())
    return 0
