"""Slices: which variables of one body flow into which, told from its text alone, in whatever order its statements run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass

from evallint import events as ev
from evallint.events import Event, Function, Value, blocks
from evallint.meaning import names
from evallint.meaning.walk import asked_of_self, deep, every, last_name, text_of

ADDING = frozenset(("append", "extend", "insert", "add", "update", "put", "push"))
"""Methods by which something flows into the object that they are called on."""
ITSELF = frozenset(("self", "cls"))
SCHEDULERS = frozenset("scheduler sched plateau lr_scheduler".split())
LOSSES = frozenset("loss losses criterion criterions crit cost objective entropy mse nll bce l1loss mseloss".split())
"""Words that names of losses end in."""
PENALTIES = frozenset("penalty reg regularization regularizer kl kld bce mse nll ce".split())
"""Further words that names of the parts of a loss end in."""
SCORES = frozenset("acc accuracy num n count counts correct iou f1 precision recall auc score metric lr step epoch time size".split())
"""Words of the keys of what is a number in a table of losses."""
BACKWARD = frozenset(("backward", "manual_backward"))
NUMBERS = frozenset("item detach tolist numpy float".split())
GIVEN = frozenset(
    "reward rewards return returns advantage advantages adv gain gains mask masks target targets label labels coef"
    " alpha beta gamma lam temperature".split()
)
"""Words that names of what comes into a loss from outside end in, as a rule."""
FIRST = frozenset(("first", "init", "initial", "started", "initialized", "initialised"))
"""Words of flags that tell the first round from the others."""
BUILTIN = frozenset("sum round int abs max min list tuple".split())
SCALING = frozenset("mean sum scale div mul float".split())
"""Methods between a loss and its backward."""
SMOOTH = frozenset("logsumexp exp log abs sqrt pow clamp relu sigmoid tanh softplus norm neg square max min squeeze view reshape".split())
"""Further functions and methods of tensors through which a gradient flows."""


def reads(*values: object) -> Iterator[str]:
    """Every name and dotted name in values, as it is written: `out.loss` gives `out.loss` and `out`."""
    stack = list(values)
    while stack:
        at = stack.pop()
        if isinstance(at, (ev.Name, ev.Attr)):
            text = text_of(at)
            if text not in ITSELF:
                yield text
        if isinstance(at, tuple):
            stack += at
        elif isinstance(at, Value) and is_dataclass(at):
            stack += [getattr(at, field.name) for field in fields(at)]


def flows(body: Sequence[Event]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """For each statement of a body what it writes, and what flows into that."""
    for event in every(body):
        if isinstance(event, ev.Assign):
            yield frozenset(written(*event.targets)), frozenset(reads(event.value))
        elif isinstance(event, ev.Loop) and event.target is not None:
            yield frozenset(written(event.target)), frozenset(reads(event.source))
        elif isinstance(event, ev.With):
            for item, target in event.items:
                if target is not None:
                    yield frozenset(written(target)), frozenset(reads(item))
        elif isinstance(event, ev.Do) and isinstance(call := event.value, ev.Call) and isinstance(call.func, ev.Attr):
            if call.func.name in ADDING or call.func.name.endswith("_"):
                yield frozenset(written(call.func.base)), frozenset(reads(call.args, call.keywords))


def written(*targets: Value) -> Iterator[str]:
    """What an assignment to targets changes: names, attributes, or what holds an item."""
    for target in targets:
        if isinstance(target, ev.Seq):
            yield from written(*target.items)
        elif isinstance(target, (ev.Sub, ev.Star)):
            yield from written(target.base if isinstance(target, ev.Sub) else target.item)
        elif isinstance(target, (ev.Name, ev.Attr)):
            yield text_of(target)


def sources(wanted: Iterable[str], body: Sequence[Event]) -> frozenset[str]:
    """Names, and all that flows into them in a body, through however many statements."""
    found = frozenset(wanted)
    steps = list(flows(body))
    while True:
        grown = found.union(*(read for targets, read in steps if targets & found))
        if grown == found:
            return found
        found = grown


def differentiated(body: Sequence[Event]) -> frozenset[str]:
    """What a body back-propagates, or hands to what does or to an optimizer, and all that flows into it."""
    wanted: set[str] = set()
    fresh = {id(call): made for call, made in just_made(body)}
    for _, node in deep(body):
        if not isinstance(node, ev.Call):
            continue
        name = last_name(node.func)
        handed = [last_name(arg) for arg in (*node.args, *(v for _, v in node.keywords))]
        if name == "step" and isinstance(node.func, ev.Attr) and names.has_words(last_name(node.func.base), SCHEDULERS):
            continue  # it reads the number
        if "backward" in name or name in ("grad", "step") or any(names.is_optimizer_name(h) for h in handed):
            wanted.update(reads(node.args, node.keywords))
            if "backward" in name and isinstance(node.func, ev.Attr):
                wanted.update(reads(fresh.get(id(node), node.func.base)))
    return sources(wanted, body)


def just_made(body: Sequence[Event]) -> Iterator[tuple[ev.Call, Value]]:
    """The backwards of variables that the same block has given a new value before: whatever they are called later is another loss."""
    last: dict[str, Value] = {}
    for event in body:
        call = event.value if isinstance(event, ev.Do) else None
        if isinstance(call, ev.Call) and isinstance(call.func, ev.Attr) and call.func.name == "backward":
            made = last.get(text_of(call.func.base))
            if made is not None:
                yield call, made
        changed = {text for inner in every((event,)) if isinstance(inner, ev.Assign) for text in written(*inner.targets)}
        last = {text: value for text, value in last.items() if text not in changed}
        if isinstance(event, ev.Assign) and not event.augmented and len(event.targets) == 1 and isinstance(event.targets[0], ev.Name):
            last[event.targets[0].id] = event.value
        for block in blocks(event):
            yield from just_made(block)


def started(body: Sequence[Event]) -> frozenset[str]:
    """What a body itself calls `backward` on, or hands to one: it has a graph, or that fails. And the losses that it is made of."""
    found = set[str]()
    for node in backwards(body):
        whole = node.args[0] if node.args else node.func.base if isinstance(node.func, ev.Attr) else ev.NOTHING
        start = start_of(whole)
        found.update((text_of(start),) if start is not None else ())
        found.update(text for text in terms(whole) if is_part_of_loss(text))
    made = [(event.targets, event.value) for event in every(body) if isinstance(event, ev.Assign)] if found else []
    while True:
        grown = found.union(*(akin(target, value, found) for targets, value in made for target in targets))
        if grown == found:
            return frozenset(found)
        found = grown


def backwards(body: Sequence[Event]) -> Iterator[ev.Call]:
    """The calls of a body that back-propagate: `loss.backward()`, `accelerator.backward(loss)`."""
    return (node for _, node in deep(body) if isinstance(node, ev.Call) and last_name(node.func) in BACKWARD)


def back_propagated(body: Sequence[Event]) -> Iterator[Event]:
    """A backward of what a step returns, for each place where it does: the loss, or what stands in a table under that name."""
    for event in every(body):
        for value in losses_in(event.value) if isinstance(event, ev.Return) and event.value is not None else ():
            yield ev.Do(ev.Call(ev.Attr(value, "backward"), (), (), (1, 1, 1, 1)))


def losses_in(value: Value) -> Iterator[Value]:
    """The losses in what a step returns."""
    if isinstance(value, ev.Map):
        yield from (item for key, item in value.items if isinstance(key, ev.Const) and key.value == "loss")
    elif isinstance(value, ev.IfValue):
        yield from (item for arm in (value.then, value.other) for item in losses_in(arm))
    elif isinstance(value, ev.Seq):
        yield from value.items[:1]
    else:
        yield value


def summands(body: Sequence[Event], begun: frozenset[str]) -> frozenset[str]:
    """What the losses that a body back-propagates are computed from by nothing but arithmetic, whatever it is called."""
    back = list(backwards(body))
    bases = [node.func.base for node in back if isinstance(node.func, ev.Attr)]
    found = grown = begun.union(*map(inputs, bases), *(inputs(node.args[0]) for node in back if node.args))
    while grown:
        made = (event.value for event in every(body) if isinstance(event, ev.Assign) and grown & set(map(text_of, event.targets)))
        grown = frozenset(text for value in made for text in inputs(value)) - found
        found |= grown
    return frozenset(text for text in found if text in begun or GIVEN.isdisjoint(names.words(text)[-1:]))


def detached(body: Sequence[Event]) -> frozenset[str]:
    """The lists that a body stacks or concatenates and then takes off the graph: `torch.cat(rows).detach()`, by other names as well."""
    calls = [node for _, node in deep(body) if isinstance(node, ev.Call)]
    taken = [node.func.base for node in calls if isinstance(node.func, ev.Attr) and node.func.name == "detach"]
    wanted = sources((name for value in taken for name in reads(value)), body) if taken else frozenset()
    return frozenset(text_of(node.args[0]) for node in calls if last_name(node.func) in ev.JOINING and node.args) & wanted


def akin(target: Value, value: Value, found: set[str]) -> frozenset[str]:
    """The losses that one which is back-propagated was handed out with, or is computed from by nothing but arithmetic."""
    if isinstance(target, ev.Seq):
        together = [text_of(item) for item in target.items]
        return frozenset(name for name in together if is_loss(name)) if found & set(together) else frozenset()
    return frozenset(text for text in terms(value) if is_part_of_loss(text)) if text_of(target) in found else frozenset()


def handed_back(fn: Function) -> tuple[bool, ...]:
    """For each value that a function returns, whether it is a loss that the function has back-propagated, with its graph still."""
    begun = frozenset(name for name in started(fn.body) if not takes_number(fn.body, name))
    returned = [event.value for event in every(fn.body) if isinstance(event, ev.Return) and event.value is not None] if begun else []
    rows = [value.items if isinstance(value, ev.Seq) else (value,) for value in returned if not isinstance(value, ev.Const)]
    return tuple(all(not begun.isdisjoint(terms(item)) for item in column) for column in columns(rows))


def losses_left(fn: Function) -> frozenset[str]:
    """The attributes in which a forward leaves losses with their graph: `self.kl = …`, for who trains to read."""
    given = [e for e in every(fn.body) if isinstance(e, ev.Assign) and (isinstance(e.value, ev.Call) or type(e.value) is ev.Mix)]
    left = {name: text_of(target) for event in given for target in event.targets if (name := asked_of_self(target))}
    return frozenset(name for name, text in left.items() if is_part_of_loss(name) and not takes_number(fn.body, text))


def takes_off(fn: Function) -> bool:
    """Whether a function returns, on some way, what it takes off its graph: `return x.detach().cpu()`."""
    returned = [event.value for event in every(fn.body) if isinstance(event, ev.Return)]
    return any(is_off(value, "") for value in returned if isinstance(value, ev.Call) and isinstance(value.func, ev.Attr))


def gives_number(fn: Function) -> bool:
    """Whether all that a function returns is taken off its graph, or a number: `loss = self.total.item()` … `return loss`."""
    returned = [event.value for event in every(fn.body) if isinstance(event, ev.Return) and event.value is not None]
    return bool(returned) and all(is_taken(fn, value) for value in returned)


def is_taken(fn: Function, value: Value) -> bool:
    """Whether what a function returns is taken off its graph, there or where it gets its name; or is a number."""
    return isinstance(value, ev.Const) or is_off(value, "") or (isinstance(value, ev.Name) and takes_number(fn.body, value.id))


def items_taken(fn: Function) -> tuple[bool, ...]:
    """For each value of the tuple that a function returns, whether it is taken off its graph; empty if it returns no tuple."""
    returned = [event.value for event in every(fn.body) if isinstance(event, ev.Return)]
    rows = [value.items for value in returned if isinstance(value, ev.Seq)]
    return tuple(all(is_taken(fn, item) for item in column) for column in columns(rows)) if len(rows) == len(returned) else ()


def numbers_returned(fn: Function) -> tuple[bool, ...]:
    """For each value of the tuple that a function returns, whether it is a number that is written out; empty if it returns no tuple."""
    returned = [event.value for event in every(fn.body) if isinstance(event, ev.Return)]
    rows = [value.items for value in returned if isinstance(value, ev.Seq)]
    if len(rows) < len(returned):
        return ()
    given = [(event.targets, event.value) for event in every(fn.body) if isinstance(event, ev.Assign)]
    plain = {name for targets, value in given if isinstance(value, ev.Const) for name in written(*targets)}
    plain -= {name for targets, value in given if not isinstance(value, ev.Const) for name in written(*targets)}
    plain -= {p.name for p in fn.params}
    return tuple(all(isinstance(item, ev.Const) or text_of(item) in plain for item in column) for column in columns(rows))


def columns(rows: Sequence[Sequence[Value]]) -> list[tuple[Value, ...]]:
    """The values that stand in the same place of each row; none if the rows are not equally long."""
    return list(zip(*rows, strict=True)) if len({len(row) for row in rows}) == 1 else []


def terms(value: Value, through: frozenset[str] = SCALING) -> Iterator[str]:
    """The variables in arithmetic and reductions: `a` and `b` in `(0.5 * a + torch.mean(b)).sum()`."""
    if isinstance(value, (ev.Name, ev.Attr)) or (isinstance(value, ev.Sub) and not is_score(value.index)):
        yield text_of(value)
    elif type(value) is ev.Mix:
        for item in value.items:
            yield from terms(item, through)
    elif isinstance(value, ev.Call) and isinstance(value.func, ev.Attr) and value.func.name in through:
        yield from terms(value.args[0] if text_of(value.func.base) == "torch" and value.args else value.func.base, through)
    elif isinstance(value, ev.Call) and text_of(value.func) == "sum" and value.args:
        rows = value.args[0]
        if isinstance(rows, ev.Comprehension):
            drawn = dict(pair for target, source, _ in rows.loops for pair in drawn_from(target, source))
            yield from (drawn.get(text, text) for text in terms(rows.item, through))
        elif (whole := start_of(value)) is not None:
            yield text_of(whole)


def drawn_from(target: Value, source: Value) -> Iterator[tuple[str, str]]:
    """The variable of a loop that is an item of a table or list, with that item: `v`, `losses[…]` in `for k, v in losses.items()`."""
    if isinstance(source, ev.Call) and isinstance(source.func, ev.Attr) and source.func.name in ("values", "items"):
        if source.func.name == "items":
            target = target.items[-1] if isinstance(target, ev.Seq) else ev.NOTHING
        source = source.func.base
    if isinstance(source, (ev.Name, ev.Attr)) and isinstance(target, ev.Name):
        yield target.id, f"{text_of(source)}[…]"


def inputs(value: Value) -> Iterator[str]:
    """The variables in arithmetic, reductions and functions of each element: `a` in `torch.logsumexp(a, dim=0).mean()`."""
    return terms(value, SCALING | SMOOTH)


def is_score(key: Value) -> bool:
    """Whether an item of a table of losses is, by its key, a number beside them: `losses["acc"]`."""
    return isinstance(key, ev.Const) and isinstance(key.value, str) and not SCORES.isdisjoint(names.words(key.value))


def steps(body: Sequence[Event]) -> bool:
    """Whether a body updates parameters."""
    return any(isinstance(node, ev.Call) and last_name(node.func) == "step" for _, node in deep(body))


def takes_number(body: Sequence[Event], name: str) -> bool:
    """Whether a body binds a name to what was taken off its graph: `loss = loss.item()`."""
    made = (event.value for event in every(body) if isinstance(event, ev.Assign) and name in written(*event.targets))
    return any(is_off(value, name) for value in made)


def is_off(value: Value, name: str) -> bool:
    """Whether a value that gets a name is taken off its graph, or a part of it: not `net(fake.detach())`, what a network makes of that."""
    if isinstance(value, ev.Attr):
        return value.name == "data"
    if isinstance(value, ev.IfValue):
        return is_off(value.then, name) or is_off(value.other, name)
    if isinstance(value, ev.Comprehension):
        return is_off(value.item, name)
    if type(value) is ev.Mix or isinstance(value, ev.Seq):
        return any(is_off(item, name) for item in value.items)
    if not isinstance(value, ev.Call):
        return False
    base = value.func.base if isinstance(value.func, ev.Attr) else ev.NOTHING
    if last_name(value.func) in NUMBERS or text_of(base) in ("np", "numpy", "math") or is_off(base, name):
        return True
    known = last_name(value.func) in (SCALING | SMOOTH if isinstance(value.func, ev.Attr) else BUILTIN)
    return any(is_off(arg, name) and (known or name in reads(arg)) for arg in value.args)


def is_loss(text: str) -> bool:
    """Whether a name ends in the word loss."""
    return names.words(text.rsplit(".", 1)[-1])[-1:] in (("loss",), ("losses",))


def is_part_of_loss(text: str) -> bool:
    """Whether what has this name is a loss itself where a loss is computed from it."""
    return is_loss(text) or not PENALTIES.isdisjoint(names.words(text.rsplit(".", 1)[-1])[-1:])


def start_of(node: Value | None) -> Value | None:
    """The one variable, attribute or item that a backward starts from: `loss` in `scaler.scale(loss / n)`; None where it may be several."""
    if isinstance(node, (ev.Name, ev.Attr, ev.Sub)):
        return node
    if isinstance(node, ev.Call) and isinstance(node.func, ev.Name) and node.func.id == "sum" and node.args:
        table = node.args[0]  # `sum(losses.values())`
        whole = start_of(table.func.base if isinstance(table, ev.Call) and isinstance(table.func, ev.Attr) else table)
        return ev.Sub(whole, ev.NOTHING) if whole is not None else None
    if isinstance(node, ev.Call) and isinstance(node.func, ev.Attr) and node.func.name in SCALING:
        return start_of(node.args[0] if node.func.name == "scale" and node.args else node.func.base)
    if isinstance(node, ev.Mix):
        parts = [item for item in node.items if not isinstance(item, ev.Const)]
        losses = [item for item in parts if names.words(last_name(item))[-1:] and names.words(last_name(item))[-1] in LOSSES]
        return start_of(parts[0] if len(parts) == 1 else losses[0] if len(losses) == 1 else None)
    return None


def adds_to(value: Value, text: str) -> bool:
    """`total + x` for `total`, `sums.get(k, 0) + x` for `sums[k]`, `torch.cat([rows, x])` for `rows`, on a condition as well."""
    if isinstance(value, ev.IfValue):
        return adds_to(value.then, text) or adds_to(value.other, text)
    if isinstance(value, ev.Call) and last_name(value.func) == "add" and len(value.args) == 2:
        return any(is_old(item, text) for item in value.args)
    if isinstance(value, ev.Call) and text_of(value.func) == "sum" and value.args and isinstance(value.args[0], ev.Seq):
        return len(value.args[0].items) > 1 and any(is_old(item, text) for item in value.args[0].items)
    if type(value) is ev.Mix:
        return len(value.items) > 1 and any(is_old(item, text) for item in value.items)
    if isinstance(value, ev.Call) and last_name(value.func) in ev.JOINING and value.args and isinstance(value.args[0], ev.Seq):
        items = value.args[0].items
        return len(items) > 1 and any(is_old(item, text) for item in items)
    return False


def is_old(value: Value, text: str) -> bool:
    """What stands under a name or an index, or what `get` finds there."""
    if isinstance(value, ev.Call) and isinstance(value.func, ev.Attr) and value.func.name == "get":
        return f"{text_of(value.func.base)}[…]" == text
    return isinstance(value, (ev.Name, ev.Attr, ev.Sub)) and text_of(value) == text


def summed_up(body: Sequence[Event]) -> set[str]:
    """The names that a body adds to."""
    given = ((text_of(e.targets[0]), e) for e in every(body) if isinstance(e, ev.Assign) and len(e.targets) == 1)
    return {text for text, e in given if e.augmented or adds_to(e.value, text)}


def resets(body: Sequence[Event], text: str, rarely: bool = False) -> bool:
    """Whether a body gives a name a new value that does not come from its old one, or empties it.

    With `rarely`, it does not count that a condition sets it to a number: a sum that is shown now and then holds all rounds till then.
    Nor does the first round count, which has nothing to add to: `if i == 0: rows = out`, with `rows = torch.cat([rows, out])` under `else`.
    """
    for event in body:
        if empties(event, text):
            return True
        test = event.test if isinstance(event, ev.Branch) else None
        if test is not None and begins(test, text) and not all(resets(arm, text) for arm in blocks(event)):
            continue
        for block in blocks(event):
            if test is not None:
                block = [e for e in block if not (rarely and isinstance(e, ev.Assign) and is_number(e.value))]
            if resets(block, text, rarely):
                return True
    return False


def begins(test: Value, text: str) -> bool:
    """A condition that only the first round meets: `rows is None`, `not rows`, `len(rows) == 0`, `step == 0`, `first`."""
    if isinstance(test, ev.Not):
        return begins(test.item, text)
    if isinstance(test, ev.Compare) and isinstance(test.right, ev.Const):
        counts = isinstance(test.left, (ev.Name, ev.Attr)) or text in reads(test.left)
        return text_of(test.left) == text if test.right.value is None else test.right.value == 0 and counts
    if isinstance(test, ev.Call):
        return last_name(test.func) == "len" and text in reads(test.args)
    return text_of(test) == text or not FIRST.isdisjoint(names.words(last_name(test)))


def outgrown(body: Sequence[Event]) -> Iterator[Value]:
    """What the first round of a loop finds in another state than all others: what it adds to, and flags that say which round it is."""
    for event in every(body):
        target = event.targets[0] if isinstance(event, ev.Assign) else None
        if isinstance(event, ev.Assign) and isinstance(target, (ev.Name, ev.Attr)):
            flag = isinstance(event.value, ev.Const) and not FIRST.isdisjoint(names.words(last_name(target)))
            if flag or event.augmented or adds_to(event.value, text_of(target)):
                yield target


def is_number(value: Value) -> bool:
    """A number that is written out, or several."""
    return isinstance(value, ev.Const) or (isinstance(value, ev.Seq) and all(is_number(item) for item in value.items))


def empties(event: Event, text: str) -> bool:
    """Whether a statement begins anew with a name."""
    if isinstance(event, ev.Assign) and not event.augmented and any(text in whole(t) for t in event.targets):
        return text not in reads(event.value)
    if isinstance(event, ev.Loop) and event.target is not None:
        return text in written(event.target)
    if isinstance(event, ev.Do) and isinstance(call := event.value, ev.Call) and isinstance(call.func, ev.Attr):
        return call.func.name in ("clear", "reset") and text_of(call.func.base) == text
    return False


def whole(target: Value) -> Iterator[str]:
    """The names and attributes that an assignment replaces as a whole."""
    if isinstance(target, ev.Seq):
        for item in target.items:
            yield from whole(item)
    elif isinstance(target, ev.Star):
        yield from whole(target.item)
    elif isinstance(target, (ev.Name, ev.Attr)):
        yield text_of(target)
