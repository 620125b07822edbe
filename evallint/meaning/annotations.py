"""Annotations: the class that a parameter's type says its value has."""

from __future__ import annotations

from evallint import events as ev
from evallint.events import Value
from evallint.meaning import names
from evallint.meaning.evaluate import Evaluate
from evallint.meaning.machine import last_name
from evallint.meaning.values import V

NO_MODELS = (".Tensor", ".DataLoader", ".device", ".Dataset", ".ndarray", ".Pipeline", ".pipeline")


class Annotations(Evaluate):
    """Reads annotations."""

    def annotate(self, value: V, param: ev.Param, path: str) -> bool:
        """Give an object of unknown class the class that its annotation names; whether what is known of it contradicts that."""
        if param.annotation is None or len(value.atoms) != 1:
            return False
        (atom,) = value.atoms
        if atom[0] != "o":
            return False
        known = self.thing(atom[1]).cls
        if known is None and self.thing(atom[1]).kind:
            return False
        unlike = False
        for name in annotated_names(param.annotation):
            found = self.project.dotted(path, name)
            if known is not None:
                if found is None or found[0] != "k" or found[1] in self.project.mro(known):
                    return False
                if known in self.project.mro(found[1]):
                    self.thing(atom[1]).cls = found[1]  # one of its kinds
                    return False
                unlike = not any(known in self.project.mro(c) for c in self.project.subclasses.get(id(found[1]), ()))
                continue
            if last_name(name) == "Callable":
                self.thing(atom[1]).kind = "data"
                return False
            if found is not None and found[0] == "k":
                thing = self.thing(atom[1])
                thing.cls = found[1]
                thing.kind = "model" if self.project.is_module(found[1]) else "instance"
                return False
            if found is not None and found[0] == "x":
                if found[1].endswith(("nn.Module", ".LightningModule", ".PreTrainedModel")):
                    self.thing(atom[1]).kind = "loss" if names.is_loss_name(param.name) else "model"
                elif found[1].endswith(NO_MODELS) or self.project.libraries.matches("foreign", found[1]):
                    self.thing(atom[1]).kind = "data"
        return unlike


def annotated_names(node: Value) -> list[Value]:
    """The class names in an annotation: `X`, `"X"`, `Optional[X]`, `X | None`."""
    if isinstance(node, (ev.Name, ev.Attr)):
        return [node]
    if isinstance(node, ev.Const) and isinstance(node.value, str) and node.value.replace(".", "").replace("_", "").isalnum():
        parts = node.value.split(".")
        value: Value = ev.Name(parts[0])
        for part in parts[1:]:
            value = ev.Attr(value, part)
        return [value]
    if isinstance(node, ev.Sub) and last_name(node.base) in ("Optional", "Union"):
        return [n for n in (node.index.items if isinstance(node.index, ev.Seq) else (node.index,)) for n in annotated_names(n)]
    if isinstance(node, ev.Mix):
        return [n for item in node.items for n in annotated_names(item)]
    return []
