"""The best other linter on the same labels: its figures as measured, and the way to measure them again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.corpus.labels import PACKAGES, REPOSITORIES
from tests.corpus.scoring import Said

NAME = "torch-preflight 0.5.0"
COMMAND = "torch-preflight"
CODES = {"TG002": "EVL002", "TG011": "EVL003"}
"""Which of its rules speaks of which bug; it has none for EVL001."""

TOGETHER = "together"
FIGURES: dict[str, dict[str, tuple[float, float]]] = {
    PACKAGES.subfolder: {"EVL002": (0.64, 0.18), "EVL003": (0.0, 0.0)},
    REPOSITORIES.subfolder: {"EVL002": (0.89, 0.44), "EVL003": (0.0, 0.0)},
    TOGETHER: {"EVL002": (0.82, 0.33), "EVL003": (0.0, 0.0)},
}
"""Precision and recall of each rule, by the label file's subfolder; `python -m tests.corpus peer` prints them anew."""


def findings(folder: Path, files: Sequence[str]) -> list[Said]:
    """What it says of `files`, which are below `folder`, in the codes of evallint."""
    command = [COMMAND, "check", "--format", "json", "--select", ",".join(CODES), *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # it fails when it finds something
    rows = json.loads(done.stdout)["diagnostics"]
    return [Said(Path(row["path"]).as_posix(), row["line"], CODES[row["code"]], row["message"]) for row in rows]
