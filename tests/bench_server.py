"""`python -m tests.bench_server`: how long a keystroke in a 2,000-line training script waits for its diagnostics.

The real process is spoken to; from the sending of a change to the arrival of what is shown for it, medians in milliseconds of wall
clock. `ast.parse` of the same text says what the machine is worth at the moment. `--keystrokes N` (default 20) of each kind.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HEAD = '''\
"""Train image classifiers: several architectures, several data sets, one script."""

import argparse
import copy
import json
import logging
import math
import os
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

log = logging.getLogger("train")


class AverageMeter:
    """A running mean."""

    def __init__(self, name):
        self.name = name
        self.reset()

    def reset(self):
        self.total = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.total += value * n
        self.count += n

    @property
    def mean(self):
        return self.total / max(self.count, 1)


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def accuracy(output, target, topk=(1,)):
    with torch.no_grad():
        maxk = max(topk)
        _, pred = output.topk(maxk, 1, True, True)
        pred = pred.t()
        correct = pred.eq(target.view(1, -1).expand_as(pred))
        return [correct[:k].reshape(-1).float().sum(0) * 100.0 / target.size(0) for k in topk]


class ExponentialMovingAverage:
    """Keeps a slowly moving copy of the weights."""

    def __init__(self, model, decay=0.999):
        self.module = copy.deepcopy(model)
        self.module.eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for ours, theirs in zip(self.module.state_dict().values(), model.state_dict().values()):
            if ours.dtype.is_floating_point:
                ours.mul_(self.decay).add_(theirs.detach(), alpha=1 - self.decay)
            else:
                ours.copy_(theirs)


def save_checkpoint(path, model, optimizer, scheduler, epoch, best):
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict() if scheduler is not None else None,
        "epoch": epoch,
        "best": best,
    }
    torch.save(state, path)


def load_checkpoint(path, model, optimizer=None):
    state = torch.load(path, map_location="cpu")
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
    return state["epoch"], state["best"]
'''

FAMILY = '''

class {Name}Block(nn.Module):
    """One residual block of {Name}."""

    def __init__(self, in_channels, out_channels, stride=1, drop={drop}):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.drop = nn.Dropout(drop)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.drop(self.bn2(self.conv2(out)))
        return F.relu(out + self.shortcut(x))


class {Name}Net(nn.Module):
    """A small network of {Name} blocks."""

    def __init__(self, num_classes=10, width={width}, depth=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        layers = []
        channels = width
        for index in range(depth):
            layers.append({Name}Block(channels, channels * 2, stride=2))
            channels *= 2
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)
        self.reset_parameters()

    def reset_parameters(self):
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def features(self, x):
        return self.pool(self.layers(self.stem(x))).flatten(1)

    def forward(self, x):
        return self.head(self.features(x))


class {Name}Dataset(Dataset):
    """Images of {Name} listed in a JSON file."""

    def __init__(self, root, split, transform=None):
        self.root = Path(root)
        self.transform = transform
        with open(self.root / f"{{split}}.json") as file:
            self.items = json.load(file)
        self.classes = sorted({{item["label"] for item in self.items}})
        self.index = {{name: number for number, name in enumerate(self.classes)}}

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        item = self.items[number]
        image = np.load(self.root / item["file"])
        if self.transform is not None:
            image = self.transform(image)
        return torch.from_numpy(image).float(), self.index[item["label"]]


def {name}_loaders(args):
    train_set = {Name}Dataset(args.data, "train")
    val_set = {Name}Dataset(args.data, "val")
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True, num_workers=args.workers)
    val_loader = DataLoader(val_set, batch_size=args.batch_size, num_workers=args.workers)
    return train_loader, val_loader


def train_{name}(model, loader, criterion, optimizer, device, epoch, args):
    losses = AverageMeter("loss")
    top1 = AverageMeter("top1")
    model.train()
    start = time.time()
    for step, (images, target) in enumerate(loader):
        images, target = images.to(device), target.to(device)
        output = model(images)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        if args.clip > 0:
            nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        (acc,) = accuracy(output, target)
        losses.update(loss.item(), images.size(0))
        top1.update(acc.item(), images.size(0))
        if step % args.print_freq == 0:
            log.info("epoch %d step %d loss %.4f top1 %.2f", epoch, step, losses.mean, top1.mean)
    log.info("epoch %d took %.1f s", epoch, time.time() - start)
    return losses.mean, top1.mean


def validate_{name}(model, loader, criterion, device):
    losses = AverageMeter("loss")
    top1 = AverageMeter("top1")
    {switch}
    with torch.no_grad():
        for images, target in loader:
            images, target = images.to(device), target.to(device)
            output = model(images)
            loss = criterion(output, target)
            (acc,) = accuracy(output, target)
            losses.update(loss.item(), images.size(0))
            top1.update(acc.item(), images.size(0))
    log.info("validation: loss %.4f top1 %.2f", losses.mean, top1.mean)
    return losses.mean, top1.mean


def run_{name}(args, device):
    model = {Name}Net(args.classes).to(device)
    criterion = nn.CrossEntropyLoss(label_smoothing=args.smoothing)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    train_loader, val_loader = {name}_loaders(args)
    average = ExponentialMovingAverage(model) if args.ema else None
    start, best = 0, 0.0
    if args.resume and os.path.exists(args.resume):
        start, best = load_checkpoint(args.resume, model, optimizer)
    history = defaultdict(list)
    for epoch in range(start, args.epochs):
        train_loss, _ = train_{name}(model, train_loader, criterion, optimizer, device, epoch, args)
        val_loss, top1 = validate_{name}(model, val_loader, criterion, device)
        if average is not None:
            average.update(model)
            validate_{name}(average.module, val_loader, criterion, device)
        scheduler.step()
        history["train"].append(train_loss)
        history["val"].append(val_loss)
        if top1 > best:
            best = top1
            save_checkpoint(f"{{args.output}}/{name}.pt", model, optimizer, scheduler, epoch, best)
    return best, history
'''

TAIL_HEAD = """

def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", choices=sorted(RUNNERS), default=sorted(RUNNERS)[0])
"""
OPTIONS = ("data", "output", "resume")
NUMBERS = ("classes", "batch_size", "workers", "epochs", "print_freq", "seed")
REALS = ("lr", "momentum", "weight_decay", "clip", "smoothing")
MAIN = """    parser.add_argument("--ema", action="store_true")
    return parser.parse_args(argv)


def main():
    args = parse_args()
    logging.basicConfig(level=logging.INFO)
    seed_everything(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    best, history = RUNNERS[args.arch](args, device)
    log.info("best %.2f after %d epochs, %s", best, len(history["val"]), math.isfinite(best))


if __name__ == "__main__":
    main()
"""
FAMILIES = ("Alder", "Aspen", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Larch", "Maple", "Oak", "Pine", "Rowan", "Willow")


def training_script(families: Sequence[str] = FAMILIES) -> str:
    """A training script of some 2,000 lines; of its validation functions one in four forgets `model.eval()`."""
    parts = [HEAD]
    for number, name in enumerate(families):
        switch = "start = time.time()" if number % 4 == 3 else "model.eval()"
        parts.append(FAMILY.format(Name=name, name=name.lower(), drop=0.1 + number / 50, width=16 + 4 * number, switch=switch))
    parts.append("\n\nRUNNERS = {\n" + "".join(f'    "{name.lower()}": run_{name.lower()},\n' for name in families) + "}\n")
    parts.append(TAIL_HEAD)
    for kind, names in (("str", OPTIONS), ("int", NUMBERS), ("float", REALS)):
        parts += [f'    parser.add_argument("--{name.replace("_", "-")}", type={kind}, default={kind}())\n' for name in names]
    return "".join((*parts, MAIN))


class Client:
    """The least that starts the server and waits for what it shows."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "evallint", "server"]
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.send("initialize", {"processId": None, "rootUri": folder.as_uri(), "capabilities": {}}, id=1)
        while self.receive().get("id") != 1:
            pass
        self.send("initialized", {})

    def send(self, method: str, params: Any, **more: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        size = 0
        while (line := self.process.stdout.readline().strip()) or not size:
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self.process.stdout.read(size))
        return message

    def shown(self, version: int) -> int:
        """Wait for what is shown for a version; how many findings."""
        while True:
            params = self.receive().get("params") or {}
            if params.get("version") == version:
                return len(params["diagnostics"])


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keystrokes", type=int, default=20)
    options = parser.parse_args()
    text = training_script()
    lines = text.splitlines()
    row = next(number for number, line in enumerate(lines) if "loss.backward()" in line and number > len(lines) // 2)
    kinds: dict[str, Callable[[int], tuple[int, int, str]]] = {
        "in a comment": lambda n: (row - 1, len(lines[row - 1]) + (n and n + 6), "  # why" if n == 0 else "y"),
        "in a function that trains": lambda n: (row, len(lines[row]) + (n and n + 10), "; count = 1" if n == 0 else "1"),
        "a new line there": lambda n: (row + 1, 0, f"        count_{n} = 1\n"),
    }
    start = time.perf_counter()
    ast.parse(text)
    print(f"{len(lines)} lines; ast.parse {1000 * (time.perf_counter() - start):.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "train.py"
        path.write_text(text)
        client = Client(path.parent)
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1, "text": text}
        start = time.perf_counter()
        client.send("textDocument/didOpen", {"textDocument": document})
        found = client.shown(1)
        print(f"{'opened':28} {1000 * (time.perf_counter() - start):6.0f}  ({found} findings)")
        version = 1
        for kind, edit in kinds.items():
            spent = []
            for number in range(options.keystrokes + 1):
                version += 1
                line, column, new = edit(number)
                place = {"line": line, "character": column}
                changes = [{"range": {"start": place, "end": place}, "text": new}]
                start = time.perf_counter()
                client.send(
                    "textDocument/didChange", {"textDocument": {"uri": path.as_uri(), "version": version}, "contentChanges": changes}
                )
                assert client.shown(version) == found, "it must stay a script that parses"
                spent.append(1000 * (time.perf_counter() - start))
            print(f"{kind:28} {statistics.median(spent[1:]):6.0f}  (least {min(spent[1:]):.0f}, most {max(spent[1:]):.0f})")
        client.send("shutdown", None, id=2)
        client.send("exit", None)
        client.process.wait(timeout=60)


if __name__ == "__main__":
    main()
