"""Settings: what they are, their defaults, and how they are changed. Where they are read from: `configuration`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evallint.finding import CONFIDENCES, SEVERITIES, Confidence, Severity

DEFAULT_EXCLUDE: tuple[str, ...] = (
    ".bzr",
    ".direnv",
    ".eggs",
    ".git",
    ".git-rewrite",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".nox",
    ".pants.d",
    ".pyenv",
    ".pytest_cache",
    ".pytype",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    ".vscode",
    "__pycache__",
    "__pypackages__",
    "_build",
    "buck-out",
    "build",
    "dist",
    "node_modules",
    "site-packages",
    "venv",
)

ON_REQUEST = frozenset(("EVL910",))
"""Codes that are reported only where `select` or `extend-select` name them in full."""

_PREFIX = re.compile(r"EVL[0-9]{0,3}", re.ASCII)


class SettingsError(Exception):
    """A setting that cannot be used; the message names the file and the key, and is fit to show."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is reported and how names are read.

    Codes are prefixes (`EVL`, `EVL0`, `EVL001`); the longer prefix wins, and `ignore` wins a tie. No `select` means all.
    Patterns are those of `.gitignore`, relative to `root`, the folder of the configuration file (the empty string: the working folder);
    those of `exclude_here` and `per_file_ignores_here`, which the command line adds, are relative to the working folder.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    confidence: Confidence = "medium"
    severity: Severity = "note"
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    extend_exclude: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    extend_models: tuple[str, ...] = ()
    evaluation_functions: tuple[str, ...] = ()
    training_calls: tuple[str, ...] = ()
    restoring_contexts: tuple[str, ...] = ()
    libraries: tuple[tuple[str, tuple[str, ...]], ...] = ()
    root: str = ""
    exclude_here: tuple[str, ...] = ()
    per_file_ignores_here: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def selects(self, code: str) -> bool:
        """Whether findings of `code` are reported. A file that cannot be read (EVL900) is hidden by `ignore` alone."""
        chosen = max((len(p) for p in (*self.select, *self.extend_select) if code.startswith(p)), default=-1)
        if code in ON_REQUEST:
            chosen = chosen if chosen == len(code) else -1
        elif not self.select or code == "EVL900":
            chosen = max(chosen, 0)
        ignored = max((len(p) for p in self.ignore if code.startswith(p)), default=-1)
        return chosen > ignored

    def shows(self, confidence: Confidence, severity: Severity) -> bool:
        """Whether a finding of this confidence and severity is above both thresholds."""
        return CONFIDENCES.index(confidence) >= CONFIDENCES.index(self.confidence) and SEVERITIES.index(severity) >= SEVERITIES.index(
            self.severity
        )

    def asked(self) -> tuple[Any, ...]:
        """What of the settings the analysis depends on; the others decide what is read and shown."""
        return self.knowledge(), self.extend_models, self.evaluation_functions

    def knowledge(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What the user knows of code outside the project: patterns of dotted names, by the list of `libraries.toml` that they extend."""
        classes = tuple(name for name in self.extend_models if "." in name)
        own = {
            "training_calls": _anywhere(self.training_calls),
            "restoring_contexts": _anywhere(self.restoring_contexts),
            "module_classes": classes,
            "models_in_training_mode": classes,
        }
        rows = [*self.libraries, *((name, patterns) for name, patterns in own.items() if patterns)]
        merged: dict[str, tuple[str, ...]] = {}
        for name, patterns in rows:
            merged[name] = merged.get(name, ()) + patterns
        return tuple(merged.items())


def _anywhere(names: tuple[str, ...]) -> tuple[str, ...]:
    """Patterns for names that may be written with more of the module in front."""
    return tuple(pattern for name in names for pattern in (name, f"*.{name}"))


def replace(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """`settings` with the fields of `changes` (by field name), which command-line options are.

    What begins with `extend_` is added; all else takes the place of what is set. Patterns are relative to the working folder.
    """
    if not changes:
        return settings
    new: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "extend_exclude":
            new["exclude_here"] = new.get("exclude_here", settings.exclude_here) + value
        elif name.startswith("extend_"):
            new[name] = getattr(settings, name) + value
        elif name in ("exclude", "per_file_ignores"):
            new[name] = ()
            new[f"{name}_here"] = value + new.get(f"{name}_here", ())
        else:
            new[name] = value
    if "select" in changes:  # what was selected beside the others was so beside what is no longer selected
        new["extend_select"] = changes.get("extend_select", ())
    return dataclasses.replace(settings, **new)


def code_prefix(text: str) -> str:
    """One code prefix, in capitals. Raises ValueError on anything that cannot start a code."""
    code = text.strip().upper()
    if not _PREFIX.fullmatch(code):
        raise ValueError(f"{text.strip()!r} is not a code or the start of one (such as EVL001, EVL0 or EVL)")
    return code
