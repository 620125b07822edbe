"""`python -m tests.bench_runtime`: what watching costs, as ratios of watched to unwatched time on four models.

Watched and unwatched rounds alternate in one process, so that the machine's moods meet both; each ratio is the median over the pairs
of rounds. The control installs nothing, and says how far the figures can be trusted. `--rounds N` (default 200); `--million` also
measures the memory that a million watched calls add.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from evallint.runtime.watcher import Watcher

Work = Callable[[], object]


def models() -> Iterator[tuple[str, nn.Module, torch.Tensor, int]]:
    """Name, model, input and steps a round, of the models of RUNTIME section 1."""
    from pytorchcv.models.resnet_cifar import resnet20_cifar10
    from transformers import BertConfig, BertForSequenceClassification

    yield "tiny MLP", nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10)), torch.randn(8, 16), 40
    layers = [part for _ in range(50) for part in (nn.Linear(32, 32), nn.ReLU())]
    yield "50-layer MLP", nn.Sequential(*layers, nn.Linear(32, 10)), torch.randn(8, 32), 4
    yield "resnet20, batch 8", resnet20_cifar10(), torch.randn(8, 3, 32, 32), 1
    config = BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=10,
    )
    yield "tiny BERT", BertForSequenceClassification(config), torch.randint(0, 100, (8, 32)), 2


def forward(model: nn.Module, x: torch.Tensor) -> Work:
    """One evaluation forward."""

    def work() -> None:
        with torch.no_grad():
            model(x)

    return work


def step(model: nn.Module, x: torch.Tensor) -> Work:
    """One training step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    y = torch.zeros(len(x), dtype=torch.long)

    def work() -> None:
        optimizer.zero_grad()
        output = model(x)
        nn.functional.cross_entropy(getattr(output, "logits", output), y).backward()
        optimizer.step()

    return work


@contextmanager
def watching(watcher: Watcher | None) -> Iterator[None]:
    """With the hooks, or (the control) with nothing."""
    if watcher is not None:
        watcher.start()
    try:
        yield
    finally:
        if watcher is not None:
            watcher.stop()


def seconds(work: Work, times: int) -> float:
    """CPU seconds of this process: others on the machine disturb them less than the clock."""
    for _ in range(2):  # what is installed or taken away makes Python forget what it knew of a class
        work()
    start = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - start


def ratio(work: Work, times: int, rounds: int, *, watched: bool) -> tuple[float, float]:
    """The median of watched / unwatched over pairs of rounds, and the seconds of one unwatched piece of work."""
    watcher = Watcher() if watched else None
    with watching(watcher):
        seconds(work, times)
    seconds(work, times)
    ratios, plain = [], []
    for number in range(rounds):
        pair = {}
        for on in (True, False) if number % 2 else (False, True):
            with watching(watcher if on else None):
                pair[on] = seconds(work, times)
        ratios.append(pair[True] / pair[False])
        plain.append(pair[False] / times)
    return statistics.median(ratios), statistics.median(plain)


def million() -> None:
    """The memory that a million watched calls of a tiny module add."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1))
    x = torch.randn(1, 4)
    watcher = Watcher()
    with watching(watcher):
        seconds(lambda: model(x), 20_000)
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took = seconds(lambda: model(x), 1_000_000)
        gc.collect()
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\na million watched calls: {added:.1f} MiB more at the peak, {len(watcher.records)} records, {took:.0f} s")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--million", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {options.rounds} pairs of rounds\n")
    print("| model | work | ms unwatched | watched / unwatched | control |")
    print("|---|---|--:|--:|--:|")
    for name, model, x, times in models():
        for kind, make in (("forward", forward), ("training step", step)):
            model.train(kind == "training step")
            work = make(model, x)
            amount = times if kind == "training step" else times * 3
            watched, plain = ratio(work, amount, options.rounds, watched=True)
            control, _ = ratio(work, amount, options.rounds, watched=False)
            print(f"| {name} | {kind} | {1000 * plain:.3f} | {watched:.3f} | {control:.3f} |", flush=True)
    if options.million:
        million()


if __name__ == "__main__":
    main()
