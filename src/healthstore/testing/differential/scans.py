"""A search as a loop over all entities would do it: each text is split into its words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from healthstore.entity import Entity, to_document
from healthstore.model.text import words_in

__all__ = ("ranked",)


def ranked(found: Iterable[Entity], text: str, names: Sequence[str]) -> list[Entity]:
    """Return those that have a word of the text, those with most of them first.

    Words are looked for in the fields of these names; entities that have equally many stay in
    their order.
    """
    ranks: defaultdict[int, list[Entity]] = defaultdict(list)
    sought = frozenset(words_in(text))
    for each in found:
        document = to_document(each)
        texts = (document[name] for name in names)
        words = {word for one in texts if isinstance(one, str) for word in words_in(one)}
        ranks[len(words & sought)].append(each)
    return [each for rank in sorted(ranks, reverse=True) if rank for each in ranks[rank]]
