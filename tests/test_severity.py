"""A model without a layer that depends on the mode makes a note, any other a warning that names the layer."""

from __future__ import annotations

import pytest

import evallint

PROGRAM = """
from functools import partial

import torch
from torch import nn


def conv(before, after):
    return nn.Conv2d(before, after, 3, padding=1)


def block(before, after, norm=True):
    layers = [conv(before, after), nn.BatchNorm2d(after)] if norm else [conv(before, after)]
    return nn.Sequential(*layers)


def chosen(width, layer):
    return layer(width)


def table(width):
    return torch.zeros(width, width)


class Net(nn.Module):
    def __init__(self, parts=(), rate=0.1):
        super().__init__()
        {built}

    def forward(self, x):
        return self.layers(x)


@torch.no_grad()
def test(loader):
    net = Net()
    net.load_state_dict(torch.load("net.pt"))
    return [net(x).argmax(dim=1) for x in loader]
"""


def message_of(built: str) -> tuple[str, str]:
    """Severity and message of the one finding in a program whose network is built so."""
    (finding,) = evallint.lint_source(PROGRAM.format(built=built), "net.py")
    assert finding.code == "EVL001"
    return finding.severity, finding.message


@pytest.mark.parametrize(
    "built",
    [
        "self.layers = nn.Linear(8, 2)",
        "self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(8, 2))",
        "self.layers = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.0), nn.Linear(8, 2))",
        "self.layers = nn.Sequential(nn.InstanceNorm2d(3), nn.Conv2d(3, 2, 1))",
        "self.layers = nn.LSTM(8, 2)",
        "self.table = table(8); self.layers = nn.Sequential(conv(3, 8), nn.Softmax2d())",
    ],
)
def test_note_where_no_layer_depends_on_the_mode(built: str) -> None:
    severity, message = message_of(built)
    assert severity == "note"
    assert "no layer of its class depends on the mode" in message


@pytest.mark.parametrize(
    ("built", "layer"),
    [
        ("self.layers = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.Linear(8, 2))", "Dropout p=0.2"),
        ("self.layers = nn.Sequential(nn.Linear(8, 8), nn.Dropout(rate), nn.Linear(8, 2))", "Dropout"),
        ("self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))", "BatchNorm2d"),
        ("self.layers = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)", "InstanceNorm2d with running statistics"),
        ("self.layers = nn.LSTM(8, 2, num_layers=2, dropout=0.3)", "LSTM"),
        ("parts = [nn.Linear(8, 8)]; parts.append(nn.BatchNorm1d(8)); self.layers = nn.Sequential(*parts)", "BatchNorm1d"),
        ("norm = nn.BatchNorm1d if parts else nn.LayerNorm; self.layers = nn.Sequential(nn.Linear(8, 8), norm(8))", "BatchNorm1d"),
        ("self.layers = nn.Sequential(conv(3, 8), block(8, 8))", "BatchNorm2d"),
        ("drop = partial(nn.Dropout, rate); self.layers = nn.Sequential(nn.Linear(8, 8), drop())", "Dropout"),
    ],
)
def test_warning_names_the_layer(built: str, layer: str) -> None:
    severity, message = message_of(built)
    assert severity == "warning"
    assert layer in message
    assert "is active here" in message


@pytest.mark.parametrize("built", ["self.layers = nn.Sequential(*parts)", "self.layers = chosen(8, nn.Linear)"])
def test_warning_where_the_layers_are_handed_in(built: str) -> None:
    severity, message = message_of(built)
    assert severity == "warning"
    assert "depends on the mode" not in message
