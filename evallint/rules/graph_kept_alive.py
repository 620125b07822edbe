"""EVL301: a tensor that still carries its graph, summed or collected over a loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Repair, Step
from evallint.meaning.graph_claims import kept_graphs
from evallint.rules.base import Rule
from evallint.rules.words import place

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts, Kept


class GraphKeptAlive(Rule):
    """
    ## What it does
    Finds statements that sum or collect, round by round, a tensor that still carries its graph: `total += loss`,
    `losses.append(loss)`, `outputs = torch.cat([outputs, model(x)])`, in an evaluation that autograd records or after a
    training step.

    ## Why is this bad?
    A tensor that was computed with recording on holds the graph behind it, and that holds every activation a backward would
    need. As long as the sum or the list lives, the graphs of all rounds do. Memory grows with each batch until the loop
    ends, or until there is none left.

    Measured: the peak memory of a resnet20 validation loop grows by 40 MiB with `no_grad`, by 115 MiB without, and by 630 MiB
    when the loop also sums the loss as a tensor. A small CNN over 100 batches takes 12 MiB with `.item()` and 772 MiB without.

    A backward frees what a graph holds, and leaves its nodes: 1000 training steps of the same CNN that sum their loss take 2 MiB
    more than with `.item()`. After a training step the finding is therefore a `note`.

    ## Example
    ```python
    def validate(model, loader):
        model.eval()
        total = 0
        for x, y in loader:
            total += nn.functional.cross_entropy(model(x), y)
        return total / len(loader)
    ```

    ## Use instead
    ```python
    @torch.no_grad()
    def validate(model, loader):
        model.eval()
        total = 0
        for x, y in loader:
            total += nn.functional.cross_entropy(model(x), y).item()
        return total / len(loader)
    ```
    In a training loop `total += loss.item()`, or `loss.detach()` where waiting for the device costs too much.

    ## When it is right to ignore it
    - The sum is back-propagated later, by code that could not be seen.
    - The loop has a handful of rounds, and memory does not matter.

    ## How it decides
    A graph is followed through operations that certainly carry it on: the forward, arithmetic, losses, PyTorch's functions and
    tensor methods; and whatever a loop calls `backward()` on has a graph there. `.item()`, `.detach()`, `.data`, `float()`,
    `argmax()`, comparisons, conversions to integers and arrays, `no_grad`, and functions that were not read end it. A loss that is
    computed into the one which is back-propagated, or handed out together with it, has a graph as well, where it is named a loss.
    The statement must be repeated by a loop that runs the forward as well, and that does not begin the sum anew, or does so only in
    its first round, or now and then, when it has shown it. A comprehension over batches is such a loop, and so is one over a
    generator that runs the forward, and a framework that runs `training_step` for every batch. A function or a meter that was read
    counts as the sum itself where it adds what it is handed, as it is. In an evaluation the finding is as sure as EVL002, whose
    cause is the same and whose cost is another: both stand, EVL002 at the loop. It is `low` where nothing but the use of its
    outputs says that a loop evaluates, and in most of a module's own methods, whose users may want the graph, unless one is named
    for evaluation. In a training loop the step must have gone through the forward, and the sum must not flow into a backward; then
    it is `medium`. The state of a solver or of a recurrent network, which its own next value is computed from, is not reported.

    ## Fix safety
    The fix takes `.detach()` of what is added: unlike `.item()` it gives a tensor, as before, and does not wait for the device. It is
    unsafe for what goes into a list or a dict, as an output may be something around a tensor, where the sum is returned or stored, and in
    a training loop, where the finding is a note. Where EVL002 has a fix for the loop, that one is made first, and mends both.

    ## References
    - [My model reports "cuda runtime error(2): out of memory"](https://pytorch.org/docs/stable/notes/faq.html)
    - [`torch.Tensor.detach`](https://pytorch.org/docs/stable/generated/torch.Tensor.detach.html)
    - [`torch.no_grad`](https://pytorch.org/docs/stable/generated/torch.no_grad.html)
    """

    code = "EVL301"
    name = "graph-kept-alive"
    summary = "a tensor is summed or collected over a loop together with its graph"

    VALID = (
        '''\
"""Numbers are summed, and nothing is recorded."""
import torch
from torch import nn


def validate(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += nn.functional.cross_entropy(model(x), y).item()
    return total
''',
        '''\
"""Under `no_grad` a tensor has no graph."""
import torch
from torch import nn


@torch.no_grad()
def predict(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    outputs = []
    for x in loader:
        outputs.append(model(x))
    return torch.cat(outputs)
''',
        '''\
"""Training: `.item()` and `.detach()`."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    running, outputs = 0.0, []
    for x, y in train_loader:
        optimizer.zero_grad()
        output = net(x)
        loss = nn.functional.mse_loss(output, y)
        loss.backward()
        optimizer.step()
        running += loss.item()
        outputs.append(output.detach().cpu())
    print(running, torch.cat(outputs).mean())
''',
        '''\
"""The sum is what is back-propagated."""
import torch
from torch import nn


def fit(sequences):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for sequence in sequences:
        total = 0
        for x, y in sequence:
            total += nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
''',
        '''\
"""Gradients of several batches at once."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    total = 0
    for step, (x, y) in enumerate(train_loader):
        total = total + nn.functional.mse_loss(net(x), y)
        if step % 4 == 3:
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            total = 0
''',
        '''\
"""Comparisons and places carry no graph."""
import torch
from torch import nn


def accuracy(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    correct, chosen = 0, []
    for x, y in train_loader:
        optimizer.zero_grad()
        logits = net(x)
        nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
        correct += (logits.argmax(dim=1) == y).sum()
        chosen.append(logits.argmax(dim=1))
    print(correct, chosen)
''',
        '''\
"""Text is no tensor, and a number has no graph."""
import math

import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    log, bits = "", 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        log += f"{loss:.3f} "
        bits += float(loss) / math.log(2)
    print(log, bits)
''',
        '''\
"""Begun anew in every round."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in train_loader:
        optimizer.zero_grad()
        parts = []
        parts.append(nn.functional.mse_loss(net(x), y))
        parts.append(net(x).abs().mean())
        sum(parts).backward()
        optimizer.step()
''',
    )

    INVALID = (
        '''\
"""The loss of an evaluation, summed as a tensor."""
import torch
from torch import nn


def validate(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    total = 0
    for x, y in loader:  # EVL002: 5
        total += nn.functional.cross_entropy(model(x), y)  # EVL301: 9
    return (total / len(loader)).item()
''',
        '''\
"""Losses in a list."""
import torch
from torch import nn


def validate(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    criterion = nn.CrossEntropyLoss()
    losses = []
    for x, y in loader:  # EVL002: 5
        losses.append(criterion(model(x), y))  # EVL301: 9
    print(torch.stack(losses).mean().item())
''',
        '''\
"""Outputs in a list, detached too late."""
import torch
from torch import nn


def predict(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    outputs = []
    for x in loader:  # EVL002: 5
        output = model(x).softmax(dim=1)
        outputs.append(output)  # EVL301: 9
    return torch.cat(outputs).detach().cpu().numpy()
''',
        '''\
"""`running_loss += loss` after the training step."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    running_loss = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        running_loss += loss  # EVL301: 9
    print(running_loss / len(train_loader))
''',
        '''\
"""Training outputs, kept for a metric."""
import torch
from torch import nn


def fit(train_loader, metric):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    seen = []
    for x, y in train_loader:
        optimizer.zero_grad()
        output = net(x)
        nn.functional.mse_loss(output, y).backward()
        optimizer.step()
        seen.append(output)  # EVL301: 9
    print(metric(torch.cat(seen).detach()))
''',
        '''\
"""An attribute of the object."""
import torch
from torch import nn


class Trainer:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
        self.optimizer = torch.optim.Adam(self.net.parameters())
        self.total_loss = 0

    def epoch(self, loader):
        for x, y in loader:
            self.optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.net(x), y)
            loss.backward()
            self.optimizer.step()
            self.total_loss += loss * len(x)  # EVL301: 13
''',
        '''\
"""Grown by `torch.cat`."""
import torch
from torch import nn


def collect(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    rows = torch.empty(0, 3)
    for x in loader:  # EVL002: 5
        rows = torch.cat([rows, model(x)], dim=0)  # EVL301: 9
    print(rows.argmax(dim=1))
''',
        '''\
"""Written out: `total = total + loss`."""
import torch
from torch import nn


def validate(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    total = torch.zeros(())
    for x, y in loader:  # EVL002: 5
        loss = nn.functional.cross_entropy(model(x), y)
        total = total + loss.mean()  # EVL301: 9
    print(total.item())
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for claim in kept_graphs(facts):
            kept, forward = claim.kept, claim.forward
            into = {"sum": "adds to `{}`", "list": "collects in `{}`", "item": "stores in `{}`", "gather": "collects"}[kept.how].format(
                kept.text
            )
            cure = "`.item()` or `.detach()`" if kept.how == "sum" else "`.detach()`"
            loop = "training" if claim.trains else "evaluation"
            message = (
                f"this {into} a tensor with its graph, so the graph of every round of the {loop} loop stays alive: "
                f"take {cure} of it{'' if claim.trains else ', or record nothing'}"
            )
            recorded = () if forward is None else (Step(place(forward.path, forward.span), f"the forward of `{forward.text}` is recorded"),)
            yield Finding(
                place(kept.path, kept.span), self.code, self.name, message, confidence=claim.confidence,
                severity="note" if claim.trains else "warning", function=kept.function, model=forward.text if forward is not None else "",
                trail=(
                    *(() if kept.how == "gather" else (Step(place(kept.loop.path, kept.loop.span), loop_text(kept)),)),
                    *recorded,
                    Step(place(kept.path, kept.span), f"{f'`{kept.text}`' if kept.text else 'the collection'} keeps its graph"),
                ),
                repair=Repair("detach", sort=kept.how, text=kept.text, given=kept.given, doubtful=is_doubtful(kept)),
            )  # fmt: skip


def loop_text(kept: Kept) -> str:
    """What the loop is, for the trail."""
    return f"{kept.loop.repeater} runs this at every step" if kept.loop.repeater else "the loop"


def is_doubtful(kept: Kept) -> bool:
    """Whether somebody out of sight may use the graph; of several losses in a dict each would have to be taken off its own."""
    return bool(kept.given) or any(forward.escapes or forward.stored for forward in kept.forwards)
