"""EVL101: a statement that is meant to switch a mode, and switches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Step
from evallint.meaning.graph_claims import next_forward
from evallint.rules.base import Rule
from evallint.rules.words import place

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class ModeCallWithoutEffect(Rule):
    """
    ## What it does
    Finds statements that are meant to switch a mode and switch nothing: `model.eval` and `model.train` named but not called,
    and `torch.no_grad()`, `torch.inference_mode()` or `torch.enable_grad()` made but never entered.

    ## Why is this bad?
    PyTorch raises no error: `model.eval` is an attribute that is looked up and dropped, and `torch.no_grad()` an object
    that changes the grad mode only between its `__enter__` and `__exit__`. The reader sees a switch; the program runs as if
    it were not there.

    Measured as for EVL001 and EVL002: a small CNN on scikit-learn's digits evaluates to 91.83 % instead of 97.42 % without
    `eval()` (five seeds), and the peak memory of a resnet20 validation loop grows by 115 MiB instead of 40 MiB without `no_grad`.

    ## Example
    ```python
    def evaluate(model, loader):
        model.eval
        torch.no_grad()
        return sum((model(x).argmax(dim=1) == y).sum().item() for x, y in loader)
    ```

    ## Use instead
    ```python
    def evaluate(model, loader):
        model.eval()
        with torch.no_grad():
            return sum((model(x).argmax(dim=1) == y).sum().item() for x, y in loader)
    ```

    ## When it is right to ignore it
    Never for the statement itself: it can be mended or deleted. The rule does not look at the top level of notebooks for
    `model.eval`, where the last expression of a cell is shown, nor into unit tests.

    ## How it decides
    A statement that is nothing but an attribute named `eval` or `train` is reported if the object is a module by its class
    (`self` in a module's method) or by its use in the file (it is called, or `parameters()`, `state_dict()` and the like
    are called on it), with confidence `high`; if only its name says so, `medium`. A call of a grad mode is reported if it
    is a statement by itself. `torch.set_grad_enabled(False)` takes effect as a statement; an object that is kept and
    entered later, `enter_context(torch.no_grad())` and the bare decorator `@torch.no_grad` do as well: all are silent.

    What the missing switch does to the evaluation is another finding at another place: EVL001 or EVL002 at the loop. `eval()`
    on another object than the one that runs is left to EVL001 too, whose trail shows which mode call came last.

    ## Fix safety
    No fix is offered yet. Parentheses after `model.eval` change what the following forward computes, as they were meant to.

    ## References
    - [`torch.nn.Module.eval`](https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval)
    - [`torch.no_grad`](https://pytorch.org/docs/stable/generated/torch.no_grad.html)
    - [`torch.set_grad_enabled`](https://pytorch.org/docs/stable/generated/torch.autograd.grad_mode.set_grad_enabled.html)
    """

    code = "EVL101"
    name = "mode-call-without-effect"
    summary = "`model.eval` is not called, or `torch.no_grad()` not entered: the statement does nothing"

    VALID = (
        '''\
"""Called, and entered."""
import torch
from torch import nn


def evaluate(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    with torch.no_grad():
        return [model(x).argmax(dim=1) for x in loader]
''',
        '''\
"""`set_grad_enabled` takes effect as a statement."""
import torch
from torch import nn

torch.set_grad_enabled(False)
net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
net.load_state_dict(torch.load("net.pt"))
net.eval()
for row in torch.load("rows.pt"):
    print(net(row).item())
''',
        '''\
"""A decorator without parentheses works."""
import torch
from torch import nn


class Predictor:
    def __init__(self, path):
        self.net = nn.Sequential(nn.Linear(9, 18), nn.BatchNorm1d(18), nn.Linear(18, 3))
        self.net.load_state_dict(torch.load(path))
        self.net.eval()

    @torch.no_grad
    def predict(self, x):
        return self.net(x).argmax(dim=1)
''',
        '''\
"""The object is kept and entered later."""
import torch
from torch import nn


def embed(path, loader):
    encoder = nn.Sequential(nn.Linear(30, 10), nn.Dropout(0.1))
    encoder.load_state_dict(torch.load(path))
    encoder.eval()
    silent = torch.no_grad()
    with silent:
        return [encoder(x) for x in loader]
''',
        '''\
"""An `ExitStack` enters it."""
from contextlib import ExitStack

import torch
from torch import nn


def score(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 1))
    model.load_state_dict(torch.load(path))
    model.eval()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        return sum(model(x).mean().item() for x in loader)
''',
        '''\
"""Not a module: `config.train` may be read for what its property does."""


class Settings:
    @property
    def train(self):
        return open("train.json").read()


def check(config: Settings):
    config.train
    import torch

    print(torch.__version__)
''',
        '''\
"""A method handed on is not a statement."""
import atexit

import torch
from torch import nn

model = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.2), nn.Linear(4, 1))
atexit.register(model.eval)
switch = model.train
switch(False)
''',
        '''\
"""Entered by hand."""
import torch
from torch import nn


def features(path, images):
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten())
    backbone.load_state_dict(torch.load(path))
    backbone.eval()
    guard = torch.no_grad()
    guard.__enter__()
    return [backbone(image).argmax() for image in images]
''',
    )

    INVALID = (
        '''\
"""`eval` without parentheses."""
import torch
from torch import nn


def evaluate(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval  # EVL101: 5
    with torch.no_grad():
        for x in loader:  # EVL001: 9
            print(model(x).argmax(dim=1))
''',
        '''\
"""`train` without parentheses after an evaluation."""
import torch
from torch import nn


def fit(train_loader, val_loader):
    net = nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        net.eval()  # EVL003: 9
        with torch.no_grad():
            print(sum(nn.functional.mse_loss(net(x), y).item() for x, y in val_loader))
        net.train  # EVL101: 9
''',
        '''\
"""A bare `no_grad()`."""
import torch
from torch import nn


def test(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    torch.no_grad()  # EVL101: 5
    for x, y in loader:  # EVL002: 5
        print((model(x).argmax(dim=1) == y).sum().item())
''',
        '''\
"""A bare `inference_mode()` in a method."""
import torch
from torch import nn


class Predictor:
    def __init__(self, path):
        self.net = nn.Sequential(nn.Linear(9, 18), nn.BatchNorm1d(18), nn.Linear(18, 3))
        self.net.load_state_dict(torch.load(path))
        self.net.eval()

    def predict(self, x):
        torch.inference_mode()  # EVL101: 9
        return self.net(x).argmax(dim=1)  # EVL002: 16
''',
        '''\
"""Imported by name."""
import torch
from torch import nn, no_grad


def embed(path, loader):
    encoder = nn.Sequential(nn.Linear(30, 10), nn.Dropout(0.1))
    encoder.load_state_dict(torch.load(path))
    encoder.eval()
    no_grad()  # EVL101: 5
    for x in loader:  # EVL002: 5
        print(encoder(x).mean().item())
''',
        '''\
"""An attribute of the object, in a constructor."""
import torch
from torch import nn


class Scorer:
    def __init__(self, path):
        self.model = nn.Sequential(nn.Linear(9, 18), nn.BatchNorm1d(18), nn.Linear(18, 3))
        self.model.load_state_dict(torch.load(path))
        self.model.eval  # EVL101: 9

    def score(self, loader):
        with torch.no_grad():
            for x in loader:  # EVL001: 13
                print(self.model(x).argmax(dim=1))
''',
        '''\
"""A module that means to switch itself."""
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(9, 18), nn.ReLU(), nn.Linear(18, 3))

    def forward(self, x):
        return self.layers(x)

    def freeze(self):
        self.eval  # EVL101: 9
        self.requires_grad_(False)
''',
        '''\
"""Neither called nor entered."""
import torch
from torch import nn


def visualise(path, frames):
    generator = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 3))
    generator.load_state_dict(torch.load(path))
    generator.eval()
    torch.no_grad  # EVL101: 5
    for frame in frames:  # EVL002: 5
        print(generator(frame).argmax(dim=1))
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for idle in facts.idle:
            forward = next_forward(facts, idle)
            at = place(idle.path, idle.span)
            if idle.kind == "mode":
                message = f"`{idle.text}` without parentheses does nothing: call `{idle.text}()`"
                model, note = idle.text.rpartition(".")[0], f"`{idle.text}` is named here, not called"
            else:
                call = idle.text.rsplit(".", 1)[-1]
                message = f"`{idle.text}()` as a statement does nothing: it takes effect in `with {idle.text}():` or as a decorator"
                model, note = forward.text if forward is not None else "", f"`{call}` is made here, and never entered"
            steps = [Step(at, note)]
            if forward is not None:
                steps.append(Step(place(forward.path, forward.span), f"the forward of `{forward.text}`, in the mode that was set before"))
            yield Finding(
                at, self.code, self.name, message, confidence="high" if idle.sure else "medium",
                function=idle.function, model=model, trail=tuple(steps),
            )  # fmt: skip
