"""JSON as every reader takes it: in ASCII, without the unpaired surrogates that strict ones refuse."""

from __future__ import annotations

import json
from typing import Any

from evallint.report.style import legible


def dumps(value: Any) -> str:
    """`value` (dicts with plain keys, lists, strings, numbers) as indented JSON."""
    return json.dumps(_legible(value), indent=2)


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, dict):
        return {key: _legible(one) for key, one in value.items()}
    return [_legible(one) for one in value] if isinstance(value, list) else value
