"""A small project in a git repository, and what a pull request does to it: for the tests of what only changes bring."""

from __future__ import annotations

from pathlib import Path

from tests.examples import run

IDENTITY = {f"GIT_{who}_{what}": "tests@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

MODELS = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.drop(self.norm(x)))
"""
EVALUATE = """\
import torch


@torch.no_grad()
def accuracy(model, loader):
    correct = 0
    for x, y in loader:
        correct += (model(x).argmax(1) == y).sum().item()
    return correct


def predict(model, loader):
    model.eval()
    outputs = []
    with torch.no_grad():
        for x, _ in loader:
            outputs.append(model(x).argmax(1))
    return outputs
"""
TRAIN = """\
import torch
from torch import nn

from evaluate import accuracy, predict
from models import Net


def main(train_loader, val_loader, test_loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        print(epoch, accuracy(model, val_loader))
    return predict(model, test_loader)
"""
# an old bug: the loop runs without no_grad
LEGACY = """\
import torch

from models import Net


def describe(path):
    return path.upper()


def legacy_loss(path, test_loader):
    model = Net()
    model.load_state_dict(torch.load(path))
    model.eval()
    total = 0.0
    for inputs, targets in test_loader:
        outputs = model(inputs)
        total += torch.nn.functional.cross_entropy(outputs, targets).item()
    return total


def shout(text):
    return text.upper() + "!"
"""
BASE = {"models.py": MODELS, "evaluate.py": EVALUATE, "train.py": TRAIN, "legacy.py": LEGACY}
OLD_BUG = "    for inputs, targets in test_loader:\n"


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    done = run("git", "-c", "init.defaultBranch=main", "-c", "commit.gpgSign=false", *arguments, cwd=folder, **IDENTITY)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files (paths with slashes to texts) into a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


def repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """A repository with one commit on `main`; the branch `feature` is checked out."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    write(folder, BASE if files is None else files)
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "base")
    git(folder, "checkout", "-q", "-b", "feature")
    return folder
