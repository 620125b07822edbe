"""What names tell of tensors: which operations carry a graph on, and which lists and functions keep one or return one."""

from __future__ import annotations

from collections.abc import Container, Sequence

from evallint.events import Call, Const, Mix, Value
from evallint.meaning.machine import Args
from evallint.meaning.walk import names_in

OPERATIONS = frozenset(
    "abs add amax amin avg_pool2d bmm cat cdist chunk clamp clip clone concat contiguous cosine_similarity cpu cuda cumsum diag div dot"
    " double dstack einsum exp expand expand_as flatten flip float gather half hstack index_select lerp log log10 log1p log2 log_softmax"
    " logsumexp masked_fill masked_select matmul max mean median min mm mul nan_to_num narrow neg norm pairwise_distance permute pow"
    " prod relu repeat reshape roll select sigmoid sign sin softmax split sqrt square squeeze stack std sub sum t tanh to transpose"
    " type_as unbind unsqueeze var view view_as vstack where".split()
)
"""Methods and functions of tensors whose result carries on the graph of what they are called on."""
PAIRED = frozenset(("max", "min", "median"))
"""With a dimension they return the places as well."""
RANKING = frozenset("topk sort kthvalue mode cummax cummin".split())
"""These return the places always."""
CHOOSING = frozenset(("builtins.sum", "builtins.min", "builtins.max"))
INTEGERS = frozenset("long int int8 int16 int32 int64 uint8 bool short".split())
OUTPUTS = frozenset(
    "logits logit hidden latent latents feature features feat feats embedding embeddings emb prob probs pred preds prediction predictions"
    " recon reconstruction mu mean logvar output outputs out hat".split()
)
"""Last words of names of what a forward returns beside other things and is a tensor of numbers that learn: not codes, lengths, masks."""
PLAIN_BASES = (".object", ".ABC", ".Generic", ".Protocol")
GROWING = frozenset(("append", "extend", "insert", "add"))
FLEETING = frozenset("deque buffer queue window memory history replay pool storage rollout rollouts experience transitions".split())
"""Words of lists that forget what is old, or that training draws on."""
TELLING_OF = frozenset("from log record report print format update add".split())
"""How the names of functions begin that are handed a loss, and return none."""
ENGINES = frozenset("accelerator fabric engine scaler trainer self strategy model_engine".split())
"""Whose `backward(loss)` is the loss's own."""


def is_other(method: str, args: Args, node: Call) -> bool:
    """An operation that here gives places, or integers."""
    if method in PAIRED:
        return bool(args.all())
    return method == "to" and any(name in INTEGERS for arg in (*node.args, *(v for _, v in node.keywords)) for name in names_in(arg))


def gives_places(name: str, dims: Sequence[Value], node: Call) -> bool:
    """Whether a function returns the values and their places, given what it is handed after the tensor: `torch.max(x, 1)`, `x.topk(3)`."""
    if name in RANKING or (name in PAIRED and any(key in ("dim", "axis") for key, _ in node.keywords)):
        return True
    first = dims[0] if dims else None
    return name in PAIRED and (isinstance(first, Const) or (isinstance(first, Mix) and not first.items))  # -1 is written as a calculation


def returns_loss(said: Sequence[str], losses: Container[str]) -> bool:
    """Whether a function, by the words of its name, returns one of these: not `log_loss`, which is handed it."""
    return bool(said) and said[-1] in losses and said[0] not in TELLING_OF
