"""EVL002: an evaluation that records a graph nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding
from evallint.meaning.claims import grad_claims
from evallint.rules.base import Rule
from evallint.rules.repairs import around
from evallint.rules.words import listed, place, way, where

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class MissingNoGrad(Rule):
    """
    ## What it does
    Finds evaluation code (validating, testing, predicting, generating) whose forward autograd records although nothing
    uses that graph: no `torch.no_grad()`, `torch.inference_mode()` or `torch.set_grad_enabled(False)` is in force.

    ## Why is this bad?
    PyTorch raises no error. Every recorded forward keeps the activations that a backward would need, and takes the time
    to book them. `model.eval()` does not stop it: mode and recording are two different switches.

    Measured: recording takes time that `no_grad` saves, 28 % of an evaluation forward for a resnet20 and for a
    TransformerEncoder, 19 % for a tiny BERT, 3 % for a small CNN. The peak memory of a resnet20 validation loop grows by
    40 MiB with `no_grad`, by 115 MiB without, and by 630 MiB when the loop also sums the loss as a tensor
    (`total += loss`), which keeps the graph of every batch alive.

    ## Example
    ```python
    def evaluate(model, loader):
        model.eval()
        correct = 0
        for images, labels in loader:
            correct += (model(images).argmax(dim=1) == labels).sum().item()
        return correct / len(loader.dataset)
    ```

    ## Use instead
    ```python
    @torch.no_grad()
    def evaluate(model, loader):
        model.eval()
        correct = 0
        for images, labels in loader:
            correct += (model(images).argmax(dim=1) == labels).sum().item()
        return correct / len(loader.dataset)
    ```
    A `with torch.no_grad():` around the loop does the same. `torch.inference_mode()` saves a little more where no result is ever
    used in a recorded computation afterwards.

    ## When it is right to ignore it
    - Gradients are wanted: adversarial attacks, saliency and attribution, gradient penalties, physics-informed losses,
      forces from energies, latent optimisation, test-time adaptation. Where the code asks for them (`backward`,
      `autograd.grad`, an input that requires grad), the rule is silent already.
    - A public method returns outputs that callers back-propagate through. If that is meant, and no caller can be seen,
      write `# noqa: EVL002` on the reported line.
    - The evaluation is so small that neither time nor memory matters.

    ## How it decides
    It follows the grad mode the way Python runs the code: `with` blocks, decorators, `set_grad_enabled` statements,
    `ExitStack`, callers. It also follows what becomes of each forward's output: a backward, `autograd.grad`, or a return
    into code that trains uses the graph. `.item()`, `.detach()`, `.cpu().numpy()` and the like come too late: by then the graph was
    recorded. Parameters that are all frozen by `requires_grad_(False)` record nothing. The finding is at the innermost
    evaluation loop around the forward (in the caller, if the loop is there), or at the forward call where there is no such loop.
    A function that predicts, tests or generates by itself is a region of its own and reported as well as the loop that calls it.

    Confidence is `high` when the bug follows from code that was read, `medium` when a name or a convention helped, `low`
    when there are names alone.

    ## Fix safety
    `--fix` puts the evaluation under `with torch.no_grad():`, as the file's imports spell it, or decorates the function that does
    nothing but evaluate. No figure changes by it. The fix is unsafe (`--unsafe-fixes`) where what is called on the way to the forward
    serves training as well, where an attack is made in the same function, and where the finding is of low confidence. There is none in
    a file that does not import torch: import it.
    In a generator the forward alone is put under it, because the code that asks for the next item may train.

    ## References
    - [`torch.no_grad`](https://pytorch.org/docs/stable/generated/torch.no_grad.html)
    - [`torch.inference_mode`](https://pytorch.org/docs/stable/generated/torch.autograd.grad_mode.inference_mode.html)
    - [Locally disabling gradient computation](https://pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation)
    """

    code = "EVL002"
    name = "missing-no-grad"
    summary = "autograd records an evaluation's forward, and nothing uses that graph"

    VALID = (
        '''\
"""The loop is under `no_grad`."""
import torch
from torch import nn


def test(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.5), nn.Linear(18, 3))
    model.load_state_dict(torch.load(path))
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            print((model(x).argmax(dim=1) == y).sum().item())
''',
        '''\
"""A decorator on the method, the loop in another one."""
import torch
from torch import nn


class Predictor:
    def __init__(self, path):
        self.net = nn.Sequential(nn.Linear(9, 18), nn.BatchNorm1d(18), nn.Linear(18, 3))
        self.net.load_state_dict(torch.load(path))
        self.net.eval()

    @torch.inference_mode()
    def predict(self, x):
        return self.net(x).argmax(dim=1)

    def predict_all(self, loader):
        return torch.cat([self.predict(x) for x in loader])
''',
        '''\
"""Recording is switched off for the whole script."""
import torch as th
from torch import nn

th.set_grad_enabled(False)

vocoder = nn.Sequential(nn.Conv1d(80, 1, 7), nn.Dropout(0.1))
vocoder.load_state_dict(th.load("vocoder.pt"))
vocoder.eval()
for spectrogram in th.load("spectrograms.pt"):
    print(vocoder(spectrogram).shape)
''',
        '''\
"""The caller has switched recording off."""
import torch
from torch import nn


def mean_error(model, loader):
    model.eval()
    errors = []
    for x, y in loader:
        errors.append((model(x) - y).abs().mean().item())
    return sum(errors) / len(errors)


def main(loader):
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    model.load_state_dict(torch.load("model.pt"))
    with torch.no_grad():
        print(mean_error(model, loader))
''',
        '''\
"""No parameter requires a gradient: nothing is recorded."""
import torch
from torch import nn


def features(loader):
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten())
    backbone.load_state_dict(torch.load("backbone.pt"))
    backbone.eval().requires_grad_(False)
    return torch.cat([backbone(images) for images in loader])
''',
        '''\
"""An attack in evaluation mode needs the gradient of its input."""
import torch
from torch import nn


def fgsm(model, x, y, epsilon):
    x = x.clone().requires_grad_(True)
    nn.functional.cross_entropy(model(x), y).backward()
    return (x + epsilon * x.grad.sign()).clamp(0, 1).detach()


def robust_accuracy(path, loader):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.Dropout(0.5), nn.Linear(128, 10))
    model.load_state_dict(torch.load(path))
    model.eval()
    for x, y in loader:
        adversarial = fgsm(model, x, y, epsilon=0.1)
        with torch.no_grad():
            print((model(adversarial).argmax(dim=1) == y).sum().item())
''',
        '''\
"""Forces are the gradient of the energy."""
import torch
from torch import nn


def forces(path, frames):
    potential = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.1), nn.Linear(64, 1))
    potential.load_state_dict(torch.load(path))
    potential.eval()
    for positions in frames:
        positions.requires_grad_(True)
        energy = potential(positions).sum()
        (gradient,) = torch.autograd.grad(energy, positions)
        yield -gradient
''',
        '''\
"""A decorator of one's own."""
import functools

import torch
from torch import nn


def without_grad(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with torch.no_grad():
            return function(*args, **kwargs)

    return wrapper


@without_grad
def detect(loader):
    detector = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveMaxPool2d(1))
    detector.load_state_dict(torch.load("detector.pt"))
    detector.eval()
    return [detector(images) > 0.5 for images in loader]
''',
    )

    INVALID = (
        '''\
"""`eval()` and a loop, nothing else."""
import torch
from torch import nn


def evaluate(model, loader):
    model.eval()
    correct = 0
    for x, y in loader:  # EVL002: 5
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
        print(epoch, evaluate(model, val_loader))
''',
        '''\
"""Only the copy to the device is under `no_grad`."""
import torch
from torch import nn


def test(path, loader):
    model = nn.Sequential(nn.Linear(9, 18), nn.BatchNorm1d(18), nn.Linear(18, 3)).cuda()
    model.load_state_dict(torch.load(path))
    model.eval()
    for x, y in loader:  # EVL002: 5
        with torch.no_grad():
            x, y = x.cuda(), y.cuda()
        print((model(x).argmax(dim=1) == y).sum().item())
''',
        '''\
"""Only the loss is under `no_grad`; the forward before it was recorded."""
import torch
from torch import nn


def validation_loss(path, loader):
    net = nn.Sequential(nn.Linear(9, 18), nn.Dropout(0.2), nn.Linear(18, 3))
    net.load_state_dict(torch.load(path))
    net.eval()
    for x, y in loader:  # EVL002: 5
        logits = net(x)
        with torch.no_grad():
            print(nn.functional.cross_entropy(logits, y).item())
''',
        '''\
"""`detach()` comes too late; straight-line code is reported at the forward call."""
import torch
from torch import nn


class Embedder:
    def __init__(self, path):
        self.encoder = nn.Sequential(nn.Linear(300, 64), nn.Dropout(0.1), nn.Linear(64, 32))
        self.encoder.load_state_dict(torch.load(path))
        self.encoder.eval()

    def embed(self, x):
        vectors = self.encoder(x)  # EVL002: 19
        return vectors.detach().cpu().numpy()
''',
        '''\
"""One of two forward calls is outside."""
import torch
from torch import nn


def classify(loader):
    encoder = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten())
    head = nn.Sequential(nn.Dropout(0.2), nn.LazyLinear(10))
    encoder.load_state_dict(torch.load("encoder.pt"))
    head.load_state_dict(torch.load("head.pt"))
    encoder.eval()
    head.eval()
    for images in loader:  # EVL002: 5
        features = encoder(images)
        with torch.no_grad():
            print(head(features).argmax(dim=1))
''',
        '''\
"""Greedy decoding, token by token."""
import torch
from torch import nn


def greedy_decode(tokens, length):
    lm = nn.Sequential(nn.Embedding(5000, 64), nn.Dropout(0.2), nn.Linear(64, 5000))
    lm.load_state_dict(torch.load("lm.pt"))
    lm.eval()
    for _ in range(length):  # EVL002: 5
        logits = lm(tokens)[:, -1]
        tokens = torch.cat([tokens, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return tokens
''',
        '''\
"""Recording is switched on again before the loop."""
import torch
from torch import nn


def main(calibration, loader):
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))
    model.load_state_dict(torch.load("model.pt"))
    model.eval()
    torch.set_grad_enabled(False)
    offset = model(calibration).mean().item()
    torch.set_grad_enabled(True)
    for x in loader:  # EVL002: 5
        print(model(x).mean().item() - offset)
''',
        '''\
"""The forward is in a helper, the loop in its caller; neither mode nor recording is switched off."""
import torch
from torch import nn


def predict_one(model, row):
    return model(row[None]).argmax().item()


def predict_all(path, rows):
    model = nn.Sequential(nn.Linear(7, 14), nn.Dropout(0.4), nn.Linear(14, 2))
    model.load_state_dict(torch.load(path))
    for row in rows:  # EVL001: 5 EVL002: 5
        print(predict_one(model, row))
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for claim in grad_claims(facts):
            forward, region = claim.forward, claim.region
            models = listed(claim.models)
            message = f"autograd records {models} in {where(region)} and nothing uses the graph: wrap it in `with torch.no_grad():`"
            yield Finding(
                place(region.path, region.span), self.code, self.name, message, confidence=claim.confidence,
                function=region.function, model=claim.models[0], trail=tuple(way(forward, region)),
                repair=around(claim, "no-grad", facts),
            )  # fmt: skip
