"""Code and helpers that several tests share."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# `validate` runs the model in the mode that `main` left it in: EVL001 at line 15, column 9
MISSING_EVAL = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)
    def forward(self, x):
        return self.fc(self.drop(x))

def validate(model, val_loader):
    correct = 0
    with torch.no_grad():
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum().item()
    return correct

def main(train_loader, val_loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(validate(model, val_loader))
"""
LINE, COLUMN = 15, 9
CLEAN = MISSING_EVAL.replace("    correct = 0\n", "    correct = 0\n    model.eval()\n")
SILENCED = MISSING_EVAL.replace("in val_loader:\n", "in val_loader:  # noqa: EVL001\n")
NO_TORCH = "import json\n\n\ndef load(text):\n    return json.loads(text)\n"


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would colour or redirect output."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM", "EVALLINT_DEBUG")}
    return {**kept, "PYTHONIOENCODING": "utf-8", "EVALLINT_CACHE_DIR": _cache_folder(), **changes}


@cache
def _cache_folder() -> str:
    """A cache for this run of the tests alone, outside of the folders that they look into."""
    folder = tempfile.mkdtemp(prefix="evallint-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run(*command: str, cwd: Path, stdin: bytes = b"", **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; output is decoded as UTF-8."""
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, env=environment(**changes), timeout=600)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def evallint(*arguments: str, cwd: Path, stdin: bytes = b"", **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `cwd`, in a process of its own."""
    return run(sys.executable, "-m", "evallint", *arguments, cwd=cwd, stdin=stdin, **changes)


def notebook(*cells: str, language: str = "python", **written: Any) -> str:
    """A notebook with these code cells after a cell of text, as Jupyter writes it."""
    about = {"cell_type": "markdown", "metadata": {}, "source": ["import torch, model.eval()"]}
    code = [
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "outputs": [{"text": ["é\n"]}],
            "source": cell.splitlines(keepends=True),
        }
        for cell in cells
    ]
    whole = {"cells": [about, *code], "metadata": {"language_info": {"name": language}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, **({"indent": 1, "ensure_ascii": False} | written)) + "\n"
