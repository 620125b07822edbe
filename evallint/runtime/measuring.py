"""What two runs of a model have in common, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

MOST_CLASSES = 1_000_000
SEED = 20_260_000
"""Of the runs that show how far two seeds are apart."""
_ROUNDING = 8.0
"""Times the type's epsilon that two ways to compute the same (fused and plain kernels) may be apart."""
_RANDOM = ("bernoulli", "dropout", "rrelu_with_noise")
_TELLING = (*_RANDOM, "batch_norm", "normal", "rand")


def outputs_of(value: Any, name: str = "", depth: int = 4) -> dict[str, Tensor]:
    """The tensors of an output by a name that says where they are; a loss beside logits is left out."""
    if isinstance(value, Tensor):
        return {name: value.detach()}
    found: dict[str, Tensor] = {}
    if not depth:
        return found
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items() if not (key == "loss" and len(value) > 1)]
    elif isinstance(value, (list, tuple)):
        items = [(str(place), item) for place, item in enumerate(value)]
    elif hasattr(value, "__dict__") and not callable(value):
        items = list(vars(value).items())
    else:
        return found
    for key, item in items:
        found.update(outputs_of(item, f"{name}.{key}" if name else key, depth - 1))
    return found


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether they are equal bit for bit, NaN for NaN."""
    return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(torch.equal(a, b) or ((a == b) | ((a != a) & (b != b))).all())


def form_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> str:
    """How the forms of two outputs differ, or nothing."""
    if a.keys() != b.keys():
        return f"{len(a)} tensors in training mode, {len(b)} in evaluation mode" if len(a) != len(b) else "other keys in evaluation mode"
    for name in a:
        if a[name].shape != b[name].shape:
            return f"shape {tuple(a[name].shape)} in training mode, {tuple(b[name].shape)} in evaluation mode"
    return ""


def distance(a: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> float:
    """The norm of the difference by the norm of the reference, over all floating tensors of equal shape."""
    apart = norm = 0.0
    for name in a.keys() & reference.keys():
        x, y = a[name], reference[name]
        if x.shape == y.shape and x.is_floating_point() and y.is_floating_point():
            x, y = x.double(), y.double()
            fine = x.isfinite() & y.isfinite()
            apart += float(((x - y)[fine] ** 2).sum())
            norm += float((y[fine] ** 2).sum())
    if apart == 0.0:
        return 0.0
    return (apart / norm) ** 0.5 if norm else float("inf")


def differ(a: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> bool:
    """Whether they are further apart than rounding explains, or have another form."""
    if same(a, reference):
        return False
    floating = any(t.is_floating_point() for t in reference.values())
    return not floating or bool(form_difference(a, reference)) or distance(a, reference) > rounding(reference)


def rounding(outputs: Mapping[str, Tensor]) -> float:
    """The relative distance that rounding alone explains."""
    eps = [torch.finfo(t.dtype).eps for t in outputs.values() if t.is_floating_point()]
    return min(_ROUNDING * max(eps, default=0.0), 0.01)


def predictions(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> tuple[int, int]:
    """Of the predictions (argmax over the last dimension, where the output looks like logits), how many change; and how many there are."""
    for place, name in enumerate(a):
        x, y = a[name], b.get(name)
        looks = name.endswith("logits") or (place == 0 and x.dim() == 2 and name in ("", "0"))
        if looks and y is not None and x.shape == y.shape and x.is_floating_point() and 2 <= x.shape[-1] <= MOST_CLASSES:
            changed = x.argmax(-1) != y.argmax(-1)
            return int(changed.sum()), changed.numel()
    return 0, 0


def buffers_of(module: nn.Module) -> dict[str, Tensor]:
    """Its buffers by name."""
    return {name: buffer for name, buffer in module.named_buffers() if not buffer.is_sparse}


def changed_buffers(after: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> set[str]:
    """The names of the buffers that are not what they were."""
    return {name for name in after.keys() & before.keys() if not _equal(after[name], before[name])}


class Operations(TorchDispatchMode):  # type: ignore[misc]
    """Collects the names of the operations that tell modes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(word in name for word in _TELLING):
            self.names.add(f"{name} (statistics of the batch)" if "batch_norm" in name and any(a is True for a in args) else name)
        return func(*args, **(kwargs or {}))

    @property
    def random_layers(self) -> set[str]:
        """Those of dropout and its kin."""
        return {name for name in self.names if any(word in name for word in _RANDOM)}


class Kept:
    """Counts the bytes that a graph keeps: storages saved for the backward, less those that are there anyway."""

    def __init__(self, free: list[Tensor]) -> None:
        self.free = {_storage(t)[0] for t in free}
        self.bytes: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        """For `saved_tensors_hooks`; the detached tensor keeps the storage, not the graph."""
        where, size = _storage(tensor)
        if where not in self.free:
            self.bytes[where] = size
        return tensor.detach()

    @staticmethod
    def unpack(tensor: Tensor) -> Tensor:
        """For `saved_tensors_hooks`."""
        return tensor

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.bytes.values())


def _storage(tensor: Tensor) -> tuple[int, int]:
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    except (RuntimeError, NotImplementedError):  # sparse and other layouts have none
        return id(tensor), tensor.numel() * tensor.element_size()
