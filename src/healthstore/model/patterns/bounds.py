"""How much work a pattern can make: bounded by its form, whatever the text is.

An engine that goes back tries each way to divide a text among the parts of a pattern. How many
ways there are is counted here over the tree, where one character ahead decides between the ways
that are open: ``[a-z]+[.]`` divides a text in one way, ``[a-z]+[a-z]+`` in as many as it has
places, and ``(?:a+)+`` doubles them with each character. Of all engines MySQL's gives up first,
after 32 times 10,000 steps back (``regexp_time_limit``): what may take more is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from math import inf

from healthstore.model.advice import AdvisedError
from healthstore.model.patterns.tree import Choice, Letter, Node, Ranges, Repeat, Sequence, overlap

__all__ = ("MAX_COUNT", "MAX_SIZE", "MAX_STEPS", "MAX_TEXT", "require_bounded")

MAX_COUNT = 255
"""The most that ``{m,n}`` counts to: PostgreSQL's limit."""
MAX_TEXT = 640
"""The most characters of a text that is matched; two parts that overlap divide it in time."""
MAX_STEPS = 320_000
MAX_SIZE = 1_000
"""The most characters and classes of a pattern, where what is counted is written out.

PostgreSQL and PCRE write it out.
"""


@dataclass(frozen=True, slots=True)
class _Next:
    """What may come next: one of these characters, or the end of the text."""

    ranges: Ranges
    heads: int
    """How many parts are tried there."""

    def __or__(self, other: _Next) -> _Next:
        return _Next((*self.ranges, *other.ranges), self.heads + other.heads)


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of a part, from one place of a text on, before what may come next; at the most."""

    ways: float
    """In how many ways it is matched that the next character allows."""
    steps: float
    """How often an engine goes back in it."""
    width: float
    """How many parts are tried at one character."""


_END = _Next((), 1)
_NO_MORE = _Next((), 0)


def require_bounded(tree: Node) -> None:
    """Raise ValueError for a pattern that may take long on some text; the position is told."""
    if _size(tree) > MAX_SIZE:
        raise AdvisedError(
            f"is matched with a pattern of more than {MAX_SIZE} characters and classes, where "
            "what is counted is written out",
            f"count to less: a text has at most {MAX_TEXT} characters",
        )
    _cost(tree, _END)


def _size(node: Node) -> int:
    if isinstance(node, Letter):
        return 1
    if isinstance(node, Repeat):
        return _size(node.item) * max(1, node.least, node.most or 0)
    return sum(map(_size, node.items if isinstance(node, Sequence) else node.branches))


def _shortest(node: Node) -> int:
    """Return how many characters the shortest text has that is matched."""
    if isinstance(node, Letter):
        return 1
    if isinstance(node, Repeat):
        return node.least * _shortest(node.item)
    if isinstance(node, Sequence):
        return sum(map(_shortest, node.items))
    return min(map(_shortest, node.branches))


def _before(node: Node, following: _Next) -> _Next:
    """Return what may come next where a part does, and then ``following``."""
    if isinstance(node, Letter):
        return _Next(node.ranges, 1)
    if isinstance(node, Sequence):
        for item in reversed(node.items):
            following = _before(item, following)
        return following
    if isinstance(node, Choice):
        found = _before(node.branches[0], following)
        for branch in node.branches[1:]:
            found |= _before(branch, following)
        return found
    inside = _before(node.item, following)
    return inside if node.least else inside | following


def _cost(node: Node, following: _Next) -> _Cost:
    if isinstance(node, Letter):
        return _Cost(1, 0, following.heads)
    if isinstance(node, Sequence):
        cost = _of_sequence(node, following)
    elif isinstance(node, Choice):
        cost = _of_choice(node, following)
    elif node.most == 1:
        cost = _of_option(node, following)
    else:
        cost = _of_repeat(node, following)
    if cost.steps > MAX_STEPS or cost.ways > MAX_STEPS:
        raise AdvisedError(
            f"is matched with a pattern by which, at position {_place(node)}, a text can be divided in too "
            "many ways",
            "let what follows a part of any length begin with a character that the part has not; "
            "two such parts may share characters, side by side",
        )
    return cost


def _of_sequence(node: Sequence, following: _Next) -> _Cost:
    following_each = [following]
    for item in reversed(node.items[1:]):
        following_each.append(_before(item, following_each[-1]))
    ways, steps, width = 1.0, 0.0, 1.0
    for item, then in zip(node.items, reversed(following_each), strict=False):
        cost = _cost(item, then)
        steps += ways * cost.steps
        ways *= cost.ways
        width = max(width, cost.width)
        if steps > MAX_STEPS:
            return _Cost(ways, inf, width)
    return _Cost(ways, steps, width)


def _of_choice(node: Choice, following: _Next) -> _Cost:
    count = len(node.branches)
    firsts = [_before(each, following).ranges for each in node.branches]
    beside = [
        [place for place, other in enumerate(firsts) if overlap(one, other) or one == other]
        for one in firsts
    ]
    alone = all(len(each) == 1 for each in beside)
    shared = None if alone else _shared(node)
    if shared is not None:
        # What two branches begin with is matched by each of them; one remains where they part.
        cost = _cost(shared, following)
        return _Cost(cost.ways, cost.steps * count + count, cost.width * count)
    costs = [_cost(each, following) for each in node.branches]
    widths = [each.width for each in costs]
    return _Cost(
        max(sum(costs[place].ways for place in each) for each in beside),
        sum(each.steps for each in costs) + count - 1,
        max(widths) if alone else sum(widths),
    )


def _shared(node: Choice) -> Node | None:
    """Return the choice with what several branches begin with written once; None if none do."""
    alike: dict[Node, list[tuple[Node, ...]]] = {}
    empty = 0
    for branch in node.branches:
        items = branch.items if isinstance(branch, Sequence) else (branch,)
        if items:
            alike.setdefault(items[0], []).append(items)
        else:
            empty += 1
    if len(alike) + empty == len(node.branches):
        return None
    made = [_with_one_beginning(branches, node.position) for branches in alike.values()]
    made += [Sequence(())] * empty
    return made[0] if len(made) == 1 else Choice(tuple(made), node.position)


def _with_one_beginning(branches: list[tuple[Node, ...]], position: int) -> Node:
    if len(branches) == 1:
        return Sequence(branches[0])
    equal = takewhile(lambda each: each.count(each[0]) == len(each), zip(*branches, strict=False))
    common = tuple(each[0] for each in equal)
    rests = tuple(Sequence(each[len(common) :]) for each in branches)
    return Sequence((*common, Choice(rests, position)))


def _of_option(node: Repeat, following: _Next) -> _Cost:
    item = _cost(node.item, following)
    open_ = overlap(_before(node.item, following).ranges, following.ranges)
    return _Cost(item.ways + open_, item.steps + 1, item.width)


def _of_repeat(node: Repeat, following: _Next) -> _Cost:
    least, most, shortest = node.least, node.most, _shortest(node.item)
    if shortest == 0:
        raise AdvisedError(
            f"is matched with a pattern in which, at position {node.position}, what may be empty is "
            "repeated",
            "let each repetition have a character: write (?:a|b)* for (?:a*b?)*",
        )
    fitting = max(1, MAX_TEXT // shortest)
    times = fitting if most is None else min(most, fitting)
    item = _cost(node.item, _before(node.item, _NO_MORE) | following)
    if item.ways > 1:
        ways = power = 1.0
        for _ in range(times):
            power *= item.ways
            ways += power
            if ways > MAX_STEPS:
                break
        return _Cost(ways, ways * (item.steps + 1), item.width)
    steps = min(times * (item.steps + 1), MAX_TEXT * item.width)
    if least == most or not overlap(_before(node.item, following).ranges, following.ranges):
        return _Cost(1, steps, item.width)
    # Of a text that is divided in two, the second part is half of it, in the mean.
    free = fitting / 2 if most is None or most >= fitting else most - least + 1
    return _Cost(max(1, free), steps, item.width)


def _place(node: Node) -> int:
    """Return the position of the first quantifier, or else of the first choice, in a part."""
    found = sorted(_places(node))
    return found[0][1] if found else 0


def _places(node: Node) -> Iterator[tuple[bool, int]]:
    if isinstance(node, Repeat):
        yield False, node.position
        yield from _places(node.item)
    elif isinstance(node, Choice):
        yield True, node.position
    for each in node.items if isinstance(node, Sequence) else ():
        yield from _places(each)
    for each in node.branches if isinstance(node, Choice) else ():
        yield from _places(each)
