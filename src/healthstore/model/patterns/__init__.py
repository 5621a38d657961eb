r"""A portable subset of regular expressions: one meaning on every backend, and a bounded cost.

A pattern is held against a whole text. It is made of these:

===============================================  ===============================================
a character, ``\.``, ``\n``, ``\x41``            itself; signs of patterns have a ``\`` before them
``[a-z_]``, ``[^a-z]``                           one of these characters, one of all others
``.``, ``\d``, ``\w``, ``\s``, ``\D`` ...        ``[^\n]``, ``[0-9]``, ``[0-9A-Za-z_]``, white space
``?``, ``*``, ``+``, ``{m}``, ``{m,}``, ``{m,n}``  the part before it, so many times
``(...)``, ``(?:...)``, ``a|b``                  a group, one of several
===============================================  ===============================================

It means what :func:`re.fullmatch` says with ``re.ASCII``, and is refused if it holds anything
else, or if a text could be matched in so many ways that a server would not end soon.
:func:`canonical` gives the one form in which a pattern is kept and sent: groups that capture
nothing, classes as ranges, each sign escaped. All engines agree about that form; only the end of
a text is written otherwise by each.
"""

from __future__ import annotations

from functools import lru_cache

from healthstore.model.patterns.bounds import MAX_COUNT, MAX_TEXT, require_bounded
from healthstore.model.patterns.parse import MAX_LENGTH, parsed
from healthstore.model.patterns.write import written

__all__ = ("MAX_COUNT", "MAX_LENGTH", "MAX_TEXT", "canonical")


@lru_cache(maxsize=1_000)
def canonical(pattern: str) -> str:
    """Return the pattern in the form that every engine reads alike.

    Raises ValueError for what is no pattern of the subset, and for one whose cost is not bounded;
    it tells the position, which counts from 0, and no part of the pattern.
    """
    tree = parsed(pattern)
    require_bounded(tree)
    return written(tree)
