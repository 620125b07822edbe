"""EVL201: a functional dropout that is not told the mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evallint.finding import Finding, Repair
from evallint.rules.base import Rule
from evallint.rules.words import is_meant, of_lapse

if TYPE_CHECKING:
    from evallint.meaning.facts import Facts


class FunctionalDropoutIgnoresMode(Rule):
    """
    ## What it does
    Finds functional calls whose result should depend on the mode and that are not told it: `F.dropout(x, p)` and its kin without
    `training=self.training`, a literal `training=True`, and `F.scaled_dot_product_attention(..., dropout_p=self.p)`.

    ## Why is this bad?
    PyTorch raises no error. A function knows nothing of the module that calls it: `F.dropout` has `training=True` as its default, and
    `scaled_dot_product_attention` drops at the rate that it is handed. `model.eval()` changes neither, so predictions stay random.

    Measured on a small classifier with `F.dropout(h, 0.5)`, after `model.eval()`: 7.1 % of its predictions change from one call to
    the next, accuracy is 92.6 % instead of 95.0 %, and the loss is 0.224 instead of 0.142.

    ## Example
    ```python
    class Head(nn.Module):
        def __init__(self, width, classes):
            super().__init__()
            self.fc = nn.Linear(width, classes)

        def forward(self, x):
            return self.fc(F.dropout(x, 0.5))
    ```

    ## Use instead
    ```python
    class Head(nn.Module):
        def __init__(self, width, classes):
            super().__init__()
            self.fc = nn.Linear(width, classes)

        def forward(self, x):
            return self.fc(F.dropout(x, 0.5, training=self.training))
    ```
    An `nn.Dropout` built in `__init__` follows the mode by itself. For attention: `dropout_p=self.p if self.training else 0.0`.

    ## When it is right to ignore it
    - Noise is wanted in both modes: Monte Carlo dropout, augmentation, the pre-net of a speech synthesizer. Where the name of the
      function or class, or a comment on the line or right above it, says so, the rule is silent already.
    - The code runs in training steps only, and the function's name does not say so. Write `# noqa: EVL201` on the line.

    ## How it decides
    It reads the calls in the methods of modules, and in functions that modules or evaluation code call. A call is right where its flag
    or its rate is computed from the mode (`self.training`, `phase`, `deterministic`, …), where a condition around it or an early return
    before it asks for the mode, where the rate is 0, and where a caller out of sight hands the rate in. A function of the program that
    hands its rate on to one without a flag is judged as that one is: where it is called.

    Confidence is `high` in methods of classes that are known to be modules, and `medium` elsewhere and for a literal `training=True`.

    ## Fix safety
    Where `self` is the module, the fix passes `training=self.training`, or `p if self.training else 0.0` as the rate. It changes
    nothing in training. It is unsafe in a class that is not known to be a module, for a literal `training=True`, which may be meant,
    and where the flag was handed over as the rate, as training drops all today. A helper function gets none.

    ## References
    - [`torch.nn.functional.dropout`](https://pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html)
    - [`scaled_dot_product_attention`](https://pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html)
    """

    code = "EVL201"
    name = "functional-dropout-ignores-mode"
    summary = "a functional dropout is not told the mode, and drops in evaluation as well"

    VALID = (
        '''\
"""The flag is the module's."""
import torch.nn.functional as F
from torch import nn


class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        x = F.dropout(x, 0.2, self.training)
        return F.dropout2d(self.fc(x), p=0.1, training=self.training)
''',
        '''\
"""A condition around the call asks for the mode."""
import torch.nn.functional as F
from torch import nn


class Words(nn.Module):
    def __init__(self, count, width, rate):
        super().__init__()
        self.table = nn.Embedding(count, width)
        self.rate = rate

    def forward(self, tokens):
        vectors = self.table(tokens)
        if self.rate > 0 and self.training:
            vectors = F.dropout(vectors, self.rate)
        return vectors
''',
        '''\
"""In evaluation the method has returned before."""
import torch.nn.functional as F
from torch import nn


class Jitter(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training:
            return x
        return F.alpha_dropout(x, self.rate, training=True)
''',
        '''\
"""The rate of the attention is 0 in evaluation."""
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.rate = rate

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        rate = self.rate if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True)
''',
        '''\
"""A helper that is told the mode."""
import torch.nn.functional as F
from torch import nn


def mixed(x, y, rate, training):
    return F.dropout(x, rate, training) + y


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return mixed(self.fc(x), x, 0.1, self.training)
''',
        '''\
"""Monte Carlo dropout is meant to be on."""
import torch
import torch.nn.functional as F
from torch import nn


class MCDropoutRegressor(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, 1)

    def forward(self, x):
        return self.fc(F.dropout(x, 0.5, training=True))

    def spread(self, x):
        return torch.stack([self(x) for _ in range(30)]).std(dim=0)
''',
        '''\
"""`alpha_dropout` and `rrelu` are off unless they are told otherwise, and a rate of 0 drops nothing."""
import torch.nn.functional as F
from torch import nn


class Plain(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        x = F.rrelu(F.alpha_dropout(self.fc(x), 0.3))
        return F.dropout(x, 0.0)
''',
        '''\
"""A method that is named for training."""
import torch.nn.functional as F
from torch import nn


class Tagger(nn.Module):
    def __init__(self, width, tags):
        super().__init__()
        self.fc = nn.Linear(width, tags)

    def training_step(self, batch):
        x, y = batch
        return F.cross_entropy(self.fc(F.dropout(x, 0.3)), y)

    def forward(self, x):
        return self.fc(x)
''',
        '''\
"""The rate follows the mode by way of `train`."""
import torch.nn.functional as F
from torch import nn


class Switched(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.rate = self.active = rate

    def train(self, mode=True):
        self.active = self.rate if mode else 0.0
        return super().train(mode)

    def forward(self, x):
        return F.dropout(self.fc(x), self.active)
''',
    )

    INVALID = (
        '''\
"""The default of the flag is on."""
import torch.nn.functional as F
from torch import nn


class Encoder(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.rate = rate

    def forward(self, x):
        return self.inner(F.dropout(x, self.rate))  # EVL201: 27
''',
        '''\
"""Attention that drops at its rate in both modes."""
import torch
from torch import nn


class SelfAttention(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.dropout = dropout

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout)  # EVL201: 16
''',
        '''\
"""A literal flag."""
import torch
from torch import nn


class Decoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.out = nn.Linear(width, width)

    def forward(self, x):
        return self.out(torch.dropout(x, 0.1, True))  # EVL201: 25
''',
        '''\
"""The flag is handed over as the rate: all is dropped in training."""
from torch import nn
from torch.nn import functional


class Scorer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, 1)

    def forward(self, x):
        return self.fc(functional.dropout(x, self.training))  # EVL201: 24
''',
        '''\
"""A condition that does not ask for the mode."""
from torch import nn
from torch.nn.functional import dropout2d, relu


class Stage(nn.Module):
    def __init__(self, channels, rate=0.1):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.rate = rate

    def forward(self, x):
        x = relu(self.conv(x))
        if self.rate > 0:
            x = dropout2d(x, self.rate)  # EVL201: 17
        return x
''',
        '''\
"""A method that the forward calls, and a loop."""
import torch.nn.functional as F
from torch import nn


class Stack(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def body(self, x):
        for layer in self.layers:
            x = F.dropout(F.relu(layer(x)), p=0.25)  # EVL201: 17
        return x

    def forward(self, x):
        return self.body(x).mean(dim=1)
''',
        '''\
"""A helper that cannot know the mode."""
import torch.nn.functional as F
from torch import nn


def shaken(x):
    x = F.layer_norm(x, x.shape[-1:])
    return F.dropout(x, 0.1)  # EVL201: 12


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return x + self.fc(shaken(x))
''',
        '''\
"""Batch norm that always uses, and updates, what it has of the batch."""
import torch
import torch.nn.functional as F
from torch import nn


class Normed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x):
        return F.batch_norm(x, self.mean, self.variance, training=True)  # EVL201: 16
''',
    )

    def check(self, facts: Facts) -> Iterator[Finding]:
        for lapse in facts.lapses:
            if lapse.kind != "functional" or is_meant(lapse.comment):
                continue
            call = f"`{lapse.text}`"
            message = {
                "default": f"{call} is not told the mode and drops in evaluation as well: pass `training=self.training`",
                "always": f"{call} is told `True`, in evaluation as well: pass `self.training`",
                "rate": f"{call} drops at the rate `{lapse.detail or '…'}` in evaluation as well: "
                f"pass `{lapse.detail or 'rate'} if self.training else 0.0`",
                "swapped": f"{call} takes `self.training` for its rate: all is dropped in training; pass `training=self.training`",
            }[lapse.sort]
            repair = Repair("flag", sort=lapse.sort, text=lapse.detail, doubtful=not lapse.sure)
            yield of_lapse(self, lapse, message, sure=lapse.sort != "always", repair=repair if lapse.owned else None)
