"""Names and contents that try to break out of a report."""

from __future__ import annotations

import os
from pathlib import Path

from tests.examples import MISSING_EVAL

NAMES = (
    b"line\nbreak.py",
    b"line\n::error::break.py",
    b"return\rback.py",
    b"::error file=x::boom.py",
    b"  ::warning::indented.py",
    b"a%0Ab%25.py",
    b"quote'\"`.py",
    b"\x1b[31mred.py",
    b"bell\x07.py",
    b"one-\xc2\x9b31m-byte.py",
    b"]]>.py",
    b"<b>&amp;.py",
    b"a,b:c=d.py",
    b"with space.py",
    b"hash#query?percent%.py",
    b"bytes\xff\xfe.py",
    b"\xed\xa0\x80surrogate.py",
    b"-leading.py",
    "separator\u2028paragraph\u2029next\x85.py".encode(),
    "rtl\u202egpj.py".encode(),
    "nothing\uffff.py".encode(),
    b"back\\slash.py",
    b"tab\tname.py",
    b"{0}[a](1).py",
    "é名.py".encode(),
)
TEXT = "\x1b[2J ::error::x ]]> <a> & %0A \u2028 \u202e \x9b31m \x07 \uffff [0](1) {0} 名 -->"
_CONTENT = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
    def forward(self, x):
        return self.drop(x)

def prüfe(nets, val_loader):
    correct = 0
    with torch.no_grad():
        for x, y in val_loader["TEXT"]:  # TEXT
            correct += (nets["TEXT"](x).argmax(1) == y).sum().item()
    return correct

def main(train_loader, val_loader):
    nets = {"TEXT": Net()}
    optimizer = torch.optim.SGD(nets["TEXT"].parameters(), lr=0.1)
    for epoch in range(10):
        nets["TEXT"].train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(nets["TEXT"](x), y).backward()
            optimizer.step()
        print(prüfe(nets, val_loader))
"""
CONTENTS = {
    "content.py": _CONTENT.replace("TEXT", TEXT).encode(),
    "breaks.py": _CONTENT.replace("TEXT", "a\x0cb\x0bc\x1cd\x85e").encode(),
    "zero.py": b"import torch\n\0\n",
    "escape.py": b"import torch\ndef \x1b(:\n",
    "latin.py": b'import torch\nx = "\xff"\n',
}


def write(folder: Path) -> int:
    """Write all of it into `folder`; returns how many files there are. Names that the file system refuses are left out."""
    count = 0
    for name, data in [*((name, MISSING_EVAL.encode()) for name in NAMES), *((os.fsencode(name), data) for name, data in CONTENTS.items())]:
        try:
            (folder / os.fsdecode(name)).write_bytes(data)
        except OSError:
            continue
        count += 1
    return count
