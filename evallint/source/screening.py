"""The prefilter: whether a file can hold a finding at all, told from its bytes, so that most files are never parsed."""

from __future__ import annotations

import re

# the library itself, and what hardly any other code says
_SURE = ("torch", "nn.Module", "no_grad", "inference_mode", "set_grad_enabled", "requires_grad", ".backward(")
# libraries that hand out its models without naming it, and what switches a mode: code that gets its model from elsewhere names no library
_LIBRARIES = ("accelerate", "diffusers", "fastai", "ignite", "lightning", "monai", "peft", "timm", "transformers")
_PERHAPS = (*_LIBRARIES, ".eval", ".train")
_PATTERN = rf"(?:from|import)\s+(?:{'|'.join(_LIBRARIES)})\b|\.eval\b(?!\s*\(\s*[^)\s])|\.train\b(?!\s*=)"

_IN_TEXT = re.compile(_PATTERN)
_IN_BYTES = re.compile(_PATTERN.encode())
_SURE_BYTES = tuple(word.encode() for word in _SURE)
_PERHAPS_BYTES = tuple(word.encode() for word in _PERHAPS)


# a file that names no library may still hold the helper or the callback that runs the model, the meter that keeps its losses, or a class
# built on one of the project's
_HELPS = re.compile(
    rb"\b(?:\w*model|net|network|encoder|decoder|generator)\s*(?:\(|\.\w+\()"
    rb"|^class\s+\w+\([^)]*(?:Model|Net|Network|Module|Encoder|Decoder|Trainer|Agent|Learner|Layer)\w*\b"
    rb"|^class\s+\w*(?:Meter|Averag|Accumulat)\w*\b"
    rb"|^[ \t]+def _*(?:before|after|on|pre|post)?_*(?:fit|train|valid|evaluat)\w*\(\s*self\b",
    re.MULTILINE,
)


def bytes_help(data: bytes) -> bool:
    """Whether a file that holds no finding itself may hold code that linted files call with a model."""
    return _HELPS.search(data) is not None


# a script that names no library may still be what calls the code that predicts, and what has switched the mode before
_CALLS = re.compile(rb"\b\w*(?:predict|infer|evaluat|validat|transcrib|translat|generat|embed)\w*\s*\(")
_IMPORTS = re.compile(rb"^[ \t]*(?:from|import)[ \t][^\n]*", re.MULTILINE)
_WORD = re.compile(rb"\w+")


def bytes_call(data: bytes) -> frozenset[str]:
    """The names that a file imports, if it calls anything that may predict or evaluate; else nothing."""
    if _CALLS.search(data) is None:
        return frozenset()
    return frozenset(word.decode("ascii", "ignore") for line in _IMPORTS.findall(data) for word in _WORD.findall(line))


def text_matters(text: str) -> bool:
    """Whether `text` mentions PyTorch, a library built on it, or a mode."""
    # plain words first, because a search for a word is many times as fast as one for a pattern
    return any(word in text for word in _SURE) or (any(word in text for word in _PERHAPS) and _IN_TEXT.search(text) is not None)


def bytes_matter(data: bytes) -> bool:
    """Whether `data`, in any encoding that keeps ASCII (or in UTF-16), mentions PyTorch, a library built on it, or a mode."""
    if b"\0" in data:
        data = data.replace(b"\0", b"")
    return any(word in data for word in _SURE_BYTES) or (
        any(word in data for word in _PERHAPS_BYTES) and _IN_BYTES.search(data) is not None
    )
