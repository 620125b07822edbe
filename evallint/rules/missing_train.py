"""EVL003: training that goes on in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Step
from evallint.meaning.claims import train_claims
from evallint.rules.base import Rule
from evallint.rules.repairs import after
from evallint.rules.words import call_text, of_layers, place

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class MissingTrain(Rule):
    """
    ## What it does
    Finds a model that is switched to evaluation mode and then trained further without `.train()` in between: most often
    `model.train()` once before the epochs, and a validation inside them that calls `model.eval()`.

    ## Why is this bad?
    PyTorch raises no error. From the first evaluation on, dropout no longer regularises and batch norm normalises with
    frozen running statistics, while the weights go on changing.

    Measured on scikit-learn's digits: a resnet20 trained for six epochs reaches 94.3 % with `train()` in each epoch and
    20.4 % without it (means over three seeds): its running statistics stay as they were at the first
    validation. A small CNN with batch norm and dropout falls from 97.35 % to 95.4 % (five seeds). For a tiny BERT with dropout
    0.1 the difference is within the noise.

    ## Example
    ```python
    def evaluate(model, loader):
        model.eval()
        with torch.no_grad():
            return sum(accuracy(model(x), y) for x, y in loader) / len(loader)


    model.train()
    for epoch in range(10):
        train_epoch(model, train_loader, optimizer)
        print(evaluate(model, val_loader))
    ```

    ## Use instead
    ```python
    for epoch in range(10):
        model.train()
        train_epoch(model, train_loader, optimizer)
        print(evaluate(model, val_loader))
    ```
    An evaluation that may be called from anywhere, also in the middle of an epoch, should put back what it found:
    `was_training = model.training` before, `model.train(was_training)` after.

    ## When it is right to ignore it
    - The model is meant to be trained in evaluation mode, for instance fine-tuning with frozen batch norm: write
      `# noqa: EVL003` on the reported line. A teacher, a frozen backbone, or a moving-average copy that no training step
      updates is not reported.
    - The training that follows was never meant to use dropout or batch statistics (a last calibration, for instance).

    ## How it decides
    It follows the mode of each module object through functions, methods, branches, early exits and loops (to a fixed
    point, so that the second epoch sees what the first left behind). It speaks when a forward whose loss is
    back-propagated into that module can run in evaluation mode after the module had been in training mode, and a
    particular `.eval()` is the last switch on that path. The finding is at that `.eval()`.

    Confidence is `high` when the whole path was read, `medium` when a name or a convention helped, `low` when there are
    names alone. It is `low` too where only a user would close the path, by calling `fit()` again after `predict()`, unless the method
    is one step or one epoch of training, or the evaluation ends with an `eval()` that was to be a `train()`; and where a
    constructor puts the model in evaluation mode and nothing ever takes it out.

    ## Fix safety
    `--fix` puts the mode back where the evaluation ends, or calls `model.train()` where training begins: before the loop over the
    batches, or at the top of a function that takes one step. The fix is unsafe (`--unsafe-fixes`) where parts of the model have a mode
    of their own (a frozen batch norm, say): switch them back to `eval()` after that `train()`; and where the finding is of low
    confidence or a note.

    ## References
    - [`torch.nn.Module.train`](https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train)
    - [Evaluation mode and the gradient modes](https://pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval)
    - [`torch.nn.BatchNorm2d`](https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html)
    """

    code = "EVL003"
    name = "missing-train"
    summary = "training goes on in evaluation mode: an `eval()` that is never undone"

    VALID = (
        '''\
"""`train()` at the head of every epoch."""
import torch
from torch import nn


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(dim=1) == y).sum().item() for x, y in loader)


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(epoch, evaluate(model, val_loader))
''',
        '''\
"""The evaluation ends with `train()`."""
import torch
from torch import nn


@torch.no_grad()
def validate(net, loader):
    net.eval()
    print(sum((net(x) - y).abs().sum().item() for x, y in loader))
    net.train()


def fit(train_loader, val_loader):
    net = nn.Sequential(nn.Linear(12, 24), nn.Dropout(0.2), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(net.parameters())
    for step, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        if step % 100 == 0:
            validate(net, val_loader)
''',
        '''\
"""The evaluation puts back what it found."""
import torch
from torch import nn


@torch.no_grad()
def dev_error(net, loader):
    was_training = net.training
    net.eval()
    try:
        return sum((net(x) - y).abs().sum().item() for x, y in loader)
    finally:
        net.train(was_training)


def fit(train_loader, dev_loader):
    net = nn.Sequential(nn.Linear(12, 24), nn.Dropout(0.2), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(net.parameters())
    net.train()
    for epoch in range(20):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        print(epoch, dev_error(net, dev_loader))
''',
        '''\
"""`train()` in the step itself."""
import torch
from torch import nn


class Learner:
    def __init__(self):
        self.policy = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.1), nn.Linear(64, 4))
        self.optimizer = torch.optim.Adam(self.policy.parameters())

    def update(self, x, y):
        self.policy.train()
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.policy(x), y).backward()
        self.optimizer.step()

    @torch.no_grad()
    def act(self, x):
        self.policy.eval()
        return self.policy(x).argmax(dim=1)


def main(stream):
    learner = Learner()
    for x, y in stream:
        print(learner.act(x))
        learner.update(x, y)
''',
        '''\
"""A frozen teacher stays in evaluation mode, as it should."""
import torch
from torch import nn


def distil(train_loader):
    teacher = nn.Sequential(nn.Linear(30, 30), nn.Dropout(0.1), nn.Linear(30, 5))
    teacher.load_state_dict(torch.load("teacher.pt"))
    teacher.eval()
    student = nn.Sequential(nn.Linear(30, 10), nn.Dropout(0.1), nn.Linear(10, 5))
    student.train()
    optimizer = torch.optim.Adam(student.parameters())
    for x in train_loader:
        with torch.no_grad():
            target = teacher(x).softmax(dim=1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(student(x), target).backward()
        optimizer.step()
''',
        '''\
"""What is evaluated is a copy."""
import copy

import torch
from torch import nn


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return sum(nn.functional.mse_loss(model(x), y).item() for x, y in loader)


def fit(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        print(epoch, evaluate(copy.deepcopy(model), val_loader))
''',
        '''\
"""Evaluation after the last epoch: nothing trains afterwards."""
import torch
from torch import nn


def main(train_loader, test_loader):
    model = nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in train_loader:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for x, y in test_loader:
            print(nn.functional.mse_loss(model(x), y).item())
''',
        '''\
"""One loop, two phases: the mode follows the phase."""
import torch
from torch import nn


def fit(loaders):
    net = nn.Sequential(nn.Linear(12, 24), nn.BatchNorm1d(24), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(net.parameters())
    for epoch in range(20):
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
    )

    INVALID = (
        '''\
"""`train()` once before the epochs; from the second epoch on it trains in evaluation mode."""
import torch
from torch import nn


def evaluate(model, loader):
    model.eval()  # EVL003: 5
    with torch.no_grad():
        return sum((model(x).argmax(dim=1) == y).sum().item() for x, y in loader)


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(epoch, evaluate(model, val_loader))
''',
        '''\
"""A validation in the middle of the epoch; `train()` only at its head."""
import torch
from torch import nn


def train(train_loader, val_loader):
    net = nn.Sequential(nn.Linear(12, 24), nn.Dropout(0.2), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(net.parameters())
    for epoch in range(5):
        net.train()
        for step, (x, y) in enumerate(train_loader):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
            if step % 100 == 0:
                net.eval()  # EVL003: 17
                with torch.no_grad():
                    print(sum((net(a) - b).abs().sum().item() for a, b in val_loader))
''',
        '''\
"""No `train()` anywhere."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

train_loader = DataLoader(TensorDataset(*torch.load("train.pt")), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(*torch.load("val.pt")), batch_size=32)
model = nn.Sequential(nn.Linear(20, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Linear(50, 2))
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(30):
    for x, y in train_loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()  # EVL003: 5
    with torch.no_grad():
        for x, y in val_loader:
            print((model(x).argmax(dim=1) == y).sum().item())
''',
        '''\
"""A class: `fit()` switches once, `score()` each epoch."""
import torch
from torch import nn


class Regressor:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 1))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def fit(self, train_loader, val_loader):
        self.net.train()
        for epoch in range(10):
            for x, y in train_loader:
                self.optimizer.zero_grad()
                nn.functional.mse_loss(self.net(x), y).backward()
                self.optimizer.step()
            print(epoch, self.score(val_loader))

    def score(self, loader):
        self.net.eval()  # EVL003: 9
        with torch.no_grad():
            return sum(nn.functional.mse_loss(self.net(x), y).item() for x, y in loader)
''',
        '''\
"""`train()` on another object: the encoder stays in evaluation mode."""
import torch
from torch import nn


def main(train_loader, val_loader):
    encoder = nn.Sequential(nn.Linear(30, 10), nn.Dropout(0.1))
    decoder = nn.Sequential(nn.Linear(10, 30), nn.Dropout(0.1))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    for epoch in range(10):
        for x in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(decoder(encoder(x)), x).backward()
            optimizer.step()
        encoder.eval()  # EVL003: 9
        decoder.eval()
        with torch.no_grad():
            print(sum(nn.functional.mse_loss(decoder(encoder(x)), x).item() for x in val_loader))
        decoder.train()
''',
        '''\
"""An early return goes past the `train()` at the end."""
import torch
from torch import nn


@torch.no_grad()
def check(model, loader, limit):
    model.eval()  # EVL003: 5
    error = sum((model(x) - y).abs().sum().item() for x, y in loader)
    if error > limit:
        return False
    model.train()
    return True


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        print(epoch, check(model, val_loader, limit=3.0))
''',
        '''\
"""Put back on one branch alone."""
import torch
from torch import nn


def main(train_loader, val_loader, best=float("inf")):
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        model.eval()  # EVL003: 9
        with torch.no_grad():
            loss = sum(nn.functional.mse_loss(model(x), y).item() for x, y in val_loader)
        if loss < best:
            best = loss
            model.train()
''',
        '''\
"""A hook saves a sample and forgets to switch back."""
import torch
from torch import nn


def save_sample(model, sample, step):
    model.eval()  # EVL003: 5
    with torch.no_grad():
        torch.save(model(sample), f"sample-{step}.pt")


def train(stream, sample):
    model = nn.Sequential(nn.Linear(16, 32), nn.Dropout(0.3), nn.Linear(32, 16))
    optimizer = torch.optim.AdamW(model.parameters())
    for step, x in enumerate(stream):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), x).backward()
        optimizer.step()
        if step % 1000 == 999:
            save_sample(model, sample, step)
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for claim in train_claims(facts):
            mode, forward = claim.mode, claim.forward
            assert mode.where is not None
            harmless = forward.layers in ("none", "bare")
            message = (
                f"`{forward.text}` is still in eval mode when training goes on (line {forward.span[0]} of {forward.stops[-1].function}()): "
                f"call `{forward.text}.train()` before the next training step"
            )
            message += of_layers(harmless, forward.layer, "stays in eval mode with it")
            yield Finding(
                place(mode.path, mode.where), self.code, self.name, message, confidence=claim.confidence,
                severity="note" if harmless else "warning", function=mode.function, model=forward.text,
                trail=(
                    Step(place(mode.path, mode.where), f"`{call_text(mode.text)}` here, never undone"),
                    Step(place(forward.path, forward.span), f"the forward of `{forward.text}` that is trained"),
                ),
                repair=after(claim, facts),
            )  # fmt: skip
