"""EVL102: a training step whose forward runs with recording off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from evallint.finding import Finding, Step
from evallint.meaning.graph_claims import unrecorded
from evallint.rules.base import Rule
from evallint.rules.words import place

if TYPE_CHECKING:
    from evallint.events import Span
    from evallint.meaning.facts import Backward, Facts, Forward, Stop


class TrainingWithoutGrad(Rule):
    """
    ## What it does
    Finds training steps whose forward runs with recording off: inside `torch.no_grad()` or `torch.inference_mode()`, in a
    function that these decorate, or after a `torch.set_grad_enabled(False)` that nothing undoes.

    ## Why is this bad?
    Nothing is recorded, so there is nothing to go back through. At best `backward()` fails ("element 0 of tensors does not
    require grad"), perhaps only in the second epoch, after the first evaluation has turned recording off. At worst it
    succeeds, because the loss was told to require a gradient (`loss.requires_grad_(True)`): then every parameter keeps its
    initial value.

    Measured on scikit-learn's digits, a small network trained for ten epochs with such a loss, means over five seeds: 11.6 %
    accuracy, which is chance, instead of 94.7 %; no parameter has moved.

    ## Example
    ```python
    def train(model, loader, optimizer):
        for x, y in loader:
            optimizer.zero_grad()
            with torch.no_grad():
                loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
    ```

    ## Use instead
    ```python
    def train(model, loader, optimizer):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
    ```
    An evaluation turns recording off by `with torch.no_grad():`, which puts it back by itself.

    ## When it is right to ignore it
    Where the loss depends on something else that is recorded and that the rule took for plain data: then `backward()` reaches that.

    ## How it decides
    It follows the grad mode the way Python runs the code, and the outputs of forwards into what is back-propagated. It
    speaks if the forward, the loss and the backward are all under one and the same switch; or if the forward alone is, and
    nothing but its output, data and known operations on tensors flows into the loss in that function; or if a function that
    turns recording off by a statement is called between two training steps and never undoes it. A statement of a file's
    body runs when the file is imported, and so holds for whoever imports it. A backward under `no_grad` of a loss that was
    recorded outside is right, and so are the forwards of teachers, targets and frozen backbones under `no_grad`, as long as
    something recorded flows into the loss as well. What has a graph itself, and is put through a network under `no_grad`, loses it
    there: a perceptual loss of it has no gradient, whatever else is back-propagated beside it. That is a `warning`, where a loss is taken
    of nothing else that has a graph. The finding is at the forward call, or where the function that
    back-propagates calls what makes it. It is an `error`.

    ## Fix safety
    No fix is offered. Move the forward out of the block, or replace the statement that turns recording off by a `with`
    around the evaluation.

    ## References
    - [`torch.no_grad`](https://pytorch.org/docs/stable/generated/torch.no_grad.html)
    - [`torch.set_grad_enabled`](https://pytorch.org/docs/stable/generated/torch.autograd.grad_mode.set_grad_enabled.html)
    - [Locally disabling gradient computation](https://pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation)
    """

    code = "EVL102"
    name = "training-without-grad"
    summary = "a training step's forward runs with recording off"

    VALID = (
        '''\
"""Recorded, back-propagated, evaluated without recording."""
import torch
from torch import nn


def fit(train_loader, val_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in train_loader:
        net.train()
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        net.eval()
        with torch.no_grad():
            print(sum(nn.functional.mse_loss(net(a), b).item() for a, b in val_loader))
''',
        '''\
"""Backward under `no_grad`; the forward was outside."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in train_loader:
        loss = nn.functional.mse_loss(net(x), y)
        with torch.no_grad():
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
''',
        '''\
"""A teacher records nothing, the student does."""
import torch
from torch import nn


def distil(train_loader, path):
    teacher = nn.Sequential(nn.Linear(30, 30), nn.Dropout(0.1), nn.Linear(30, 5))
    teacher.load_state_dict(torch.load(path))
    teacher.eval()
    student = nn.Linear(30, 5)
    optimizer = torch.optim.Adam(student.parameters())
    for x in train_loader:
        with torch.no_grad():
            wanted = teacher(x).softmax(dim=1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(student(x), wanted).backward()
        optimizer.step()
''',
        '''\
"""A frozen backbone, and a head of any kind."""
import torch
from torch import nn


def probe(train_loader, backbone, make_head):
    top = make_head()
    optimizer = torch.optim.SGD(top.parameters(), lr=0.1)
    for x, y in train_loader:
        with torch.no_grad():
            seen = backbone(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(top(seen), y).backward()
        optimizer.step()
''',
        '''\
"""Undone after the evaluation."""
import torch
from torch import nn


def check(net, loader):
    net.eval()
    torch.set_grad_enabled(False)
    print(sum(nn.functional.mse_loss(net(x), y).item() for x, y in loader))
    torch.set_grad_enabled(True)
    net.train()


def fit(train_loader, val_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        check(net, val_loader)
''',
        '''\
"""Two phases: recording follows the phase."""
import torch
from torch import nn


def fit(loaders):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for phase in ("train", "val"):
        net.train(phase == "train")
        for x, y in loaders[phase]:
            with torch.set_grad_enabled(phase == "train"):
                loss = nn.functional.mse_loss(net(x), y)
            if phase == "train":
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
''',
        '''\
"""Recording is switched on again inside."""
import torch
from torch import nn


@torch.no_grad()
def closure_step(net, x, y, optimizer):
    optimizer.zero_grad()
    with torch.enable_grad():
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
    optimizer.step()


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in train_loader:
        closure_step(net, x, y, optimizer)
''',
        '''\
"""A learnt temperature is what trains."""
import torch
from torch import nn


def calibrate(net, loader):
    net.eval()
    temperature = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([temperature], lr=0.1)
    for x, y in loader:
        with torch.no_grad():
            logits = net(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits / temperature, y).backward()
        optimizer.step()
''',
    )

    INVALID = (
        '''\
"""The forward is inside, the backward outside."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in train_loader:
        optimizer.zero_grad()
        with torch.no_grad():
            loss = nn.functional.mse_loss(net(x), y)  # EVL102: 43
        loss.requires_grad_(True)
        loss.backward()
        optimizer.step()
''',
        '''\
"""Everything is inside."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with torch.no_grad():
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()  # EVL102: 36
            optimizer.step()
''',
        '''\
"""A decorated training function."""
import torch
from torch import nn


@torch.no_grad()
def train_epoch(model, loader, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)  # EVL102: 44
        loss.backward()
        optimizer.step()
''',
        '''\
"""The evaluation turns recording off for good."""
import torch
from torch import nn


def check(net, loader):
    net.eval()
    torch.set_grad_enabled(False)
    print(sum(nn.functional.mse_loss(net(x), y).item() for x, y in loader))
    net.train()


def fit(train_loader, val_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()  # EVL102: 36
            optimizer.step()
        check(net, val_loader)
''',
        '''\
"""Off for the whole script, which then trains."""
import torch
from torch import nn

torch.set_grad_enabled(False)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in torch.load("batches.pt"):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(x), y)  # EVL102: 35
    loss.backward()
    optimizer.step()
''',
        '''\
"""`inference_mode` in a method that trains."""
import torch
from torch import nn


class Trainer:
    def __init__(self):
        self.model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters())

    @torch.inference_mode()
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.model(x), y)  # EVL102: 39
        loss.backward()
        self.optimizer.step()
''',
        '''\
"""The output is made inside, the loss outside."""
import torch
from torch import nn


def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    criterion = nn.MSELoss()
    for x, y in train_loader:
        optimizer.zero_grad()
        with torch.inference_mode():
            output = net(x)  # EVL102: 22
        loss = criterion(output, y)
        loss.backward()
        optimizer.step()
''',
        '''\
"""The caller is decorated, the helper trains."""
import torch
from torch import nn


def step(net, x, y, optimizer):
    optimizer.zero_grad()
    nn.functional.mse_loss(net(x), y).backward()  # EVL102: 28
    optimizer.step()


@torch.no_grad()
def fit(train_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in train_loader:
        step(net, x, y, optimizer)
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for claim in unrecorded(facts):
            forward, backward = claim.forward, claim.backward
            path, span, function, _ = claim.hush
            what = f"{function}()" if function != "<module>" else f"the body of {Path(path).name}"
            when = "" if claim.always else f" once {what} has turned it off"
            lost = f"`{backward.text}()` (line {backward.span[0]}) has no gradient to give it"
            if claim.partly:
                lost = f"`{backward.text}()` (line {backward.span[0]}) gets no gradient from the loss that is taken of its output"
            message = f"`{forward.text}` runs with recording off{when}, so {lost}"
            stop, call = nearest(forward, backward)
            yield Finding(
                place(stop.path, call), self.code, self.name, message,
                confidence=claim.confidence, severity="warning" if claim.partly else "error",
                function=stop.function, model=forward.text,
                trail=(
                    Step(place(path, span), "recording is turned off here"),
                    Step(place(forward.path, forward.span), f"the forward of `{forward.text}`: nothing is recorded"),
                    Step(place(backward.path, backward.span), f"`{backward.text}()` here"),
                ),
            )  # fmt: skip


def nearest(forward: Forward, backward: Backward) -> tuple[Stop, Span]:
    """Where the function that back-propagates runs the forward, or calls what does; the forward itself if it does neither."""
    for stop, entered in zip(forward.stops, forward.stops[1:], strict=False):
        if (stop.path, stop.function) == (backward.path, backward.function) and entered.span is not None:
            return stop, entered.span
    return forward.stops[-1], forward.span
