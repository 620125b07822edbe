"""EVL001: a model evaluated in training mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding
from evallint.meaning.claims import Claim, eval_claims
from evallint.rules.base import Rule
from evallint.rules.repairs import around
from evallint.rules.words import call_text, listed, mode_step, of_layers, place, way, where

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class MissingEval(Rule):
    """
    ## What it does
    Finds evaluation code (validating, testing, predicting, generating) whose forward may run with the model in training
    mode: on some real path no `.eval()` or `.train(False)` reaches the model, or a `.train()` came last.

    ## Why is this bad?
    PyTorch raises no error. In training mode dropout drops activations and batch norm normalises with the statistics of
    the batch at hand, so the figures depend on chance, on the batch size and on the order of the data; batch norm also
    learns its running statistics from the evaluation data.

    Measured on scikit-learn's digits, a small CNN with batch norm and dropout, means over five seeds: 97.42 % accuracy
    with `eval()`; without it 91.83 % at batch size 64, 88.1 % at batch size 2, and 86.0 % when the data are sorted by
    class. A tiny BERT with dropout 0.1 goes from 95.25 % to 94.64 % (three seeds): small enough to go unnoticed.

    ## Example
    ```python
    def validate(model, loader):
        correct = 0
        with torch.no_grad():
            for images, labels in loader:
                correct += (model(images).argmax(dim=1) == labels).sum().item()
        return correct / len(loader.dataset)
    ```
    `torch.no_grad()` stops the recording of gradients; it does not change the mode.

    ## Use instead
    ```python
    def validate(model, loader):
        model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in loader:
                correct += (model(images).argmax(dim=1) == labels).sum().item()
        return correct / len(loader.dataset)
    ```
    and `model.train()` at the head of each training epoch.

    ## When it is right to ignore it
    - Training mode is meant: Monte Carlo dropout, recalibration of batch norm, the sample grid of a GAN's fixed noise,
      detectors that return their losses in training mode only. Where the code says so by its names, or switches on the
      dropout layers alone, the rule is silent already; elsewhere write `# noqa: EVL001` on the reported line.
    - The model has no layer that depends on the mode. Where its class can be read, the finding is a `note` and says so.
      `eval()` is still the better habit: the next layer added may be a dropout.

    ## How it decides
    It follows each module object, through functions, methods, aliases, branches and loops, from its constructor to its
    forward calls, and keeps the modes in which it can arrive. A fresh module is in training mode, also after
    `load_state_dict`; a parent's `.eval()` reaches its children, never the other way round; `from_pretrained` returns
    evaluation mode. A forward is evaluation when no training step goes through its output. The finding is at the
    innermost evaluation loop around the forward (in the caller, if the loop is there), or at the forward call where there is no such loop.
    A function that predicts, tests or generates by itself (`predict`, `generate`) is a region of its own and reported as well as the
    loop that calls it: one `eval()` inside it mends both.

    Confidence is `high` when the bug follows from code that was read, `medium` when a name or a convention helped (the
    parameter `model` of a function that nobody calls, for instance), `low` when there are names alone.

    ## Fix safety
    `--fix` puts `model.eval()` before the evaluation and the mode back afterwards as it was, so that nothing that trains today
    trains differently; where the evaluation can be left early, by `try` and `finally`. A model that a function makes for itself and
    that nothing trains is left in evaluation mode. The fix is unsafe (`--unsafe-fixes`) where parts of the model have a mode of their
    own, which the `train()` of the whole would overwrite; where one loop trains and evaluates by a flag (`model.train(training)`); and
    where the finding is of low confidence or a note. There is none where the model cannot be named before the evaluation.

    ## References
    - [`torch.nn.Module.eval`](https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval)
    - [Evaluation mode and the gradient modes](https://pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval)
    - [`torch.nn.BatchNorm2d`](https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html)
    - [`torch.nn.Dropout`](https://pytorch.org/docs/stable/generated/torch.nn.Dropout.html)
    """

    code = "EVL001"
    name = "missing-eval"
    summary = "a model's forward may run in training mode during evaluation"

    VALID = (
        '''\
"""`eval()` in the evaluation, `train()` in every epoch."""
import torch
from torch import nn


def validate(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(epoch, validate(model, val_loader))
''',
        '''\
"""The caller switches; the loop is in the callee."""
import torch
from torch import nn


def accuracy(network, loader):
    hits = 0
    for x, y in loader:
        hits += (network(x).argmax(dim=1) == y).sum().item()
    return hits / len(loader.dataset)


def test(path, loader):
    network = nn.Sequential(nn.Linear(20, 50), nn.Dropout(0.5), nn.Linear(50, 2))
    network.load_state_dict(torch.load(path))
    network.train(False)
    with torch.inference_mode():
        return accuracy(network, loader)
''',
        '''\
"""A helper builds, loads and switches."""
import torch
from torch import nn


def load_model(path):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(5))
    model.load_state_dict(torch.load(path))
    return model.eval()


@torch.no_grad()
def predict(images):
    model = load_model("weights.pt")
    return [model(image[None]).argmax().item() for image in images]
''',
        '''\
"""One loop, two phases, kept apart by the same flag."""
import torch
from torch import nn


def fit(loaders):
    net = nn.Sequential(nn.Linear(12, 24), nn.Dropout(0.2), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(net.parameters())
    for epoch in range(20):
        for phase in ["train", "val"]:
            if phase == "train":
                net.train()
            else:
                net.eval()
            for x, y in loaders[phase]:
                with torch.set_grad_enabled(phase == "train"):
                    loss = nn.functional.mse_loss(net(x), y)
                if phase == "train":
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                print(epoch, phase, loss.item())
''',
        '''\
"""Whether there is an optimizer says which of the two it is."""
import torch
from torch import nn


def run_epoch(model, loader, optimizer=None):
    model.train(optimizer is not None)
    with torch.set_grad_enabled(optimizer is not None):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(loss.item())


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(3):
        run_epoch(model, train_loader, optimizer)
        run_epoch(model, val_loader)
''',
        '''\
"""The module switches itself before it predicts."""
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self, words, tags):
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(words, 32), nn.Dropout(0.3), nn.Linear(32, tags))

    def forward(self, tokens):
        return self.layers(tokens)

    @torch.no_grad()
    def predict(self, sentences):
        self.eval()
        return [self(sentence).argmax(dim=-1).tolist() for sentence in sentences]


def tag(sentences):
    tagger = Tagger(1000, 12)
    tagger.load_state_dict(torch.load("tagger.pt"))
    return tagger.predict(sentences)
''',
        '''\
"""A context manager of one's own switches and restores."""
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module):
    before = module.training
    module.eval()
    try:
        yield module
    finally:
        module.train(before)


def score(path, loader):
    ranker = nn.Sequential(nn.Linear(40, 20), nn.Dropout(), nn.Linear(20, 1))
    ranker.load_state_dict(torch.load(path))
    with torch.no_grad(), evaluating(ranker):
        return torch.cat([ranker(x).squeeze(1).cpu() for x in loader])
''',
        '''\
"""Monte Carlo dropout: only the dropout layers are switched on, and on purpose."""
import torch
from torch import nn


def enable_dropout(model):
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.train()


@torch.no_grad()
def mc_dropout_predict(path, x, passes=30):
    model = nn.Sequential(nn.Linear(10, 40), nn.Dropout(0.5), nn.Linear(40, 1))
    model.load_state_dict(torch.load(path))
    model.eval()
    enable_dropout(model)
    return torch.stack([model(x) for _ in range(passes)]).std(dim=0)
''',
    )

    INVALID = (
        '''\
"""Only `no_grad`; the epoch's `train()` is still in force."""
import torch
from torch import nn


def validate(model, loader):
    correct = 0
    with torch.no_grad():
        for x, y in loader:  # EVL001: 9
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(epoch, validate(model, val_loader))
''',
        '''\
"""A fresh module is in training mode; loading weights does not change that."""
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

test_loader = DataLoader(TensorDataset(*torch.load("test.pt")), batch_size=32)
model = nn.Sequential(nn.Linear(20, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Linear(50, 2))
model.load_state_dict(torch.load("model.pt"))
hits = 0
with torch.no_grad():
    for x, y in test_loader:  # EVL001: 5
        hits += (model(x).argmax(dim=1) == y).sum().item()
print(hits / len(test_loader.dataset))
''',
        '''\
"""Straight-line prediction: reported at the forward call."""
import torch
from torch import nn


class Index:
    def __init__(self, path):
        self.embedder = nn.Sequential(nn.Linear(100, 64), nn.Dropout(0.2), nn.Linear(64, 16))
        self.embedder.load_state_dict(torch.load(path))

    @torch.inference_mode()
    def embed(self, rows):
        vectors = self.embedder(rows)  # EVL001: 19
        return vectors.cpu().numpy()
''',
        '''\
"""`train()` comes back inside the evaluation loop."""
import torch
from torch import nn


def evaluate(path, loader):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(10))
    net.load_state_dict(torch.load(path))
    net.eval()
    with torch.no_grad():
        for x, y in loader:  # EVL001: 9
            net.train()
            print(nn.functional.cross_entropy(net(x), y).item())
''',
        '''\
"""Two models run, one is switched."""
import torch
from torch import nn


@torch.no_grad()
def translate(sentences):
    encoder = nn.Sequential(nn.Linear(32, 32), nn.Dropout(0.1))
    decoder = nn.Sequential(nn.Linear(32, 32), nn.Dropout(0.1))
    encoder.load_state_dict(torch.load("encoder.pt"))
    decoder.load_state_dict(torch.load("decoder.pt"))
    encoder.eval()
    for sentence in sentences:  # EVL001: 5
        print(decoder(encoder(sentence)).argmax(dim=-1))
''',
        '''\
"""Switched on one branch alone; without a checkpoint it also runs."""
import torch
from torch import nn


def report(loader, checkpoint=None):
    model = nn.Sequential(nn.Linear(5, 10), nn.Dropout(0.5), nn.Linear(10, 1))
    if checkpoint:
        model.load_state_dict(torch.load(checkpoint))
        model.eval()
    with torch.no_grad():
        for x, y in loader:  # EVL001: 9
            print((model(x) - y).abs().sum().item())
''',
        '''\
"""A picture in the middle of a training epoch: the loop trains, so the forward call is reported."""
import torch
from torch import nn
from torchvision.utils import save_image


def train(loader, preview):
    decoder = nn.Sequential(nn.Linear(16, 784), nn.BatchNorm1d(784), nn.Sigmoid())
    optimizer = torch.optim.Adam(decoder.parameters())
    for step, (z, x) in enumerate(loader):
        optimizer.zero_grad()
        nn.functional.mse_loss(decoder(z), x).backward()
        optimizer.step()
        if step % 500 == 0:
            with torch.no_grad():
                images = decoder(preview)  # EVL001: 26
            save_image(images.view(-1, 1, 28, 28), f"step-{step}.png")
''',
        '''\
"""The flag guards the backward and the recording, but not the mode."""
import torch
from torch import nn


def run_epoch(model, loader, optimizer, training):
    for x, y in loader:  # EVL001: 5
        with torch.set_grad_enabled(training):
            loss = nn.functional.cross_entropy(model(x), y)
        if training:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(loss.item())


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(3):
        run_epoch(model, train_loader, optimizer, training=True)
        run_epoch(model, val_loader, optimizer, training=False)
''',
        '''\
"""A child's `eval()` does not reach its parent, which has a dropout of its own."""
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(30, 30), nn.BatchNorm1d(30))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(30, 3))

    def forward(self, x):
        return self.head(self.backbone(x))


def test(loader):
    classifier = Classifier()
    classifier.load_state_dict(torch.load("classifier.pt"))
    classifier.backbone.eval()
    with torch.no_grad():
        for x, y in loader:  # EVL001: 9
            print((classifier(x).argmax(dim=1) == y).float().mean().item())
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for claim in eval_claims(facts):
            forward, region = claim.forward, claim.region
            steps = [s for s in (mode_step(m) for m in claim.modes) if s is not None]
            layers = {f.layers for f in claim.forwards}
            harmless = layers <= {"none", "bare"}
            message = self.message(claim) + of_layers(harmless, forward.layer, "is active here")
            yield Finding(
                place(region.path, region.span), self.code, self.name, message, confidence=claim.confidence,
                severity="note" if harmless else "warning", function=region.function, model=claim.models[0],
                trail=(*steps, *way(forward, region)), repair=around(claim, "eval", facts),
            )  # fmt: skip

    def message(self, claim: Claim) -> str:
        """What is wrong and what to do, naming the models and the last mode call."""
        models = listed(claim.models)
        calls = " and ".join(f"`{m}.eval()`" for m in claim.models)
        last = next((m for m in claim.modes if m.where is not None), None)
        is_, may = ("are", "may be") if len(claim.models) > 1 else ("is", "may be")
        place_ = where(claim.region)
        if last is None or last.where is None:
            return f"{models} {may} in training mode in {place_}: call {calls} before it (nothing on the way here sets the mode)"
        what = "last mode call" if last.mode == "train" else "in training mode since"
        return (
            f"{models} {is_} in training mode in {place_}: call {calls} before it ({what}: `{call_text(last.text)}`, line {last.where[0]})"
        )
