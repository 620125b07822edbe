"""EVL202: a mode-dependent layer that is built where the forward runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding
from evallint.rules.base import Rule
from evallint.rules.words import is_meant, of_lapse

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class LayerBuiltInForward(Rule):
    """
    ## What it does
    Finds dropout, batch norm and other mode-dependent layers that are built inside `forward`, or in what it calls.

    ## Why is this bad?
    PyTorch raises no error. A new layer is in training mode, and `model.eval()` has run before it exists. Dropout built there always
    drops. Batch norm built there always normalizes by the batch at hand: its running statistics are thrown away after each call, and
    its weights are never trained.

    Measured on a small classifier with `nn.BatchNorm1d(128)(h)` in its forward, after `model.eval()`: accuracy is 95 % in batches of
    4,000, and 78.6 % for the same data in batches of 4. With the layer built in `__init__` it is 95 % for both.

    ## Example
    ```python
    class Head(nn.Module):
        def __init__(self, width, classes):
            super().__init__()
            self.fc = nn.Linear(width, classes)

        def forward(self, x):
            return self.fc(nn.Dropout(0.5)(x))
    ```

    ## Use instead
    ```python
    class Head(nn.Module):
        def __init__(self, width, classes):
            super().__init__()
            self.dropout = nn.Dropout(0.5)
            self.fc = nn.Linear(width, classes)

        def forward(self, x):
            return self.fc(self.dropout(x))
    ```
    Where the size of the input is not known before, `nn.LazyBatchNorm1d()` can be built in `__init__`.

    ## When it is right to ignore it
    - Noise is wanted in both modes, and neither a name nor a comment says so. Write `# noqa: EVL202` on the line.
    - Statistics of the batch at hand are wanted: `track_running_stats=False` says so, and the rule is silent.

    ## How it decides
    It reads the methods that a module's `forward` calls on its own object, and functions that modules or evaluation code call. A layer
    counts where it is called on the spot, called by the name that it is given, or assigned to an attribute; so does a module of a class
    of the program that has such a layer, in methods that a `forward` calls. It is right where its mode
    is set by hand (`.eval()`, `.train(self.training)`), under a condition that asks for the mode or whether it has been built before,
    with a rate of 0, and in methods that build (`build_head`, `_init_layers`). Activations do not depend on the mode and do not count.

    Confidence is `high` in classes that are known to be modules and `medium` elsewhere.

    ## Fix safety
    No fix is offered: a layer with weights that moves to `__init__` changes what trains, and the names in a checkpoint.

    ## References
    - [`torch.nn.Dropout`](https://pytorch.org/docs/stable/generated/torch.nn.Dropout.html)
    - [`torch.nn.BatchNorm1d`](https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html)
    """

    code = "EVL202"
    name = "layer-built-in-forward"
    summary = "a mode-dependent layer is built inside `forward` and always in training mode"

    VALID = (
        '''\
"""Built once, in the constructor."""
from torch import nn


class Once(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.drop(self.norm(self.fc(x)))
''',
        '''\
"""Activations and pooling do not depend on the mode."""
from torch import nn


class Stateless(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)

    def forward(self, x):
        return nn.Flatten()(nn.AdaptiveAvgPool2d(1)(nn.ReLU()(self.conv(x))))
''',
        '''\
"""Its mode is set by hand."""
from torch import nn


class ByHand(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.rate = rate

    def forward(self, x):
        x = nn.Dropout(self.rate).train(self.training)(x)
        drop = nn.Dropout(self.rate)
        drop.train(self.training)
        return self.fc(drop(x))
''',
        '''\
"""In evaluation it is not built."""
from torch import nn


class InTrainingAlone(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.rate = rate

    def forward(self, x):
        x = self.fc(x)
        if self.training and self.rate:
            x = nn.Dropout(self.rate)(x)
        return x
''',
        '''\
"""Built at the first input and registered: later calls use it."""
from torch import nn


class AtFirstInput(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.norm = None
        self.classes = classes

    def forward(self, x):
        if self.norm is None:
            self.norm = nn.BatchNorm1d(x.shape[1]).to(x.device)
        return self.norm(x)
''',
        '''\
"""Statistics of the batch at hand are asked for."""
from torch import nn


class OfTheBatch(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        x = self.fc(x)
        return nn.BatchNorm1d(x.shape[1], affine=False, track_running_stats=False)(x)
''',
        '''\
"""A method that builds, for the constructor."""
from torch import nn


class Tower(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.stages = nn.ModuleList(self.make_stage(width) for _ in range(depth))

    def make_stage(self, width):
        norm = nn.BatchNorm1d(width)
        return nn.Sequential(nn.Linear(width, width), norm, nn.Dropout(0.1))

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x
''',
        '''\
"""Augmentation in training, by its name."""
from torch import nn


class Recorder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def augment(self, x):
        return nn.Dropout(0.1)(x)

    def forward(self, x):
        return self.fc(x)
''',
    )

    INVALID = (
        '''\
"""Dropout on the spot."""
import torch.nn as nn


class Spot(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.rate = rate

    def forward(self, x):
        return self.fc(nn.Dropout(self.rate)(x))  # EVL202: 24
''',
        '''\
"""Batch norm under a name."""
import torch
from torch import nn


class Named(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        x = self.fc(x)
        norm = nn.BatchNorm1d(x.shape[1])  # EVL202: 16
        return torch.relu(norm(x))
''',
        '''\
"""An attribute that each call replaces."""
from torch import nn


class Replaced(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)

    def forward(self, x):
        x = self.conv(x)
        self.norm = nn.BatchNorm2d(x.shape[1]).to(x.device)  # EVL202: 21
        return self.norm(x)
''',
        '''\
"""In a method that the forward calls."""
from torch import nn


class Divided(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def shaken(self, x):
        drop = nn.Dropout(p=0.3)  # EVL202: 16
        return drop(x)

    def forward(self, x):
        return self.fc(self.shaken(x))
''',
        '''\
"""Inside a container that is built on the spot."""
from torch import nn


class Assembled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        head = nn.Sequential(self.fc, nn.ReLU(), nn.Dropout(0.2))  # EVL202: 50
        return head(x)
''',
        '''\
"""A layer of attention with dropout."""
import torch
from torch import nn


class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        layer = nn.TransformerEncoderLayer(x.shape[-1], nhead=4)  # EVL202: 17
        return torch.tanh(layer(self.fc(x)))
''',
        '''\
"""A function that the forward calls."""
from torch import nn


def softened(x):
    x = x / x.norm(dim=-1, keepdim=True)
    return nn.Dropout(0.1)(x)  # EVL202: 12


class Soft(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return self.fc(softened(x))
''',
        '''\
"""A condition that does not ask for the mode."""
from torch import nn
from torch.nn import AlphaDropout


class Perhaps(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.rate = rate

    def forward(self, x):
        x = self.fc(x)
        if self.rate > 0:
            x = AlphaDropout(self.rate)(x)  # EVL202: 17
        return x
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for lapse in facts.lapses:
            if lapse.kind == "built" and not is_meant(lapse.comment):
                lost = "its statistics are thrown away" if "Norm" in lapse.detail else "`.eval()` never reaches it"
                message = f"`{lapse.text}` is built each time the forward runs: always in training mode, {lost}; build it in `__init__`"
                yield of_lapse(self, lapse, message)
