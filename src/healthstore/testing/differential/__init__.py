"""The differential test: the same random programs on memory and on another backend.

A program declares entities of all kinds of fields and runs steps over them. After each step
both stores must have answered alike: results and classes of errors; at the end their contents
must be equal, and what is moved from one to the other. Memory is the executable specification.
A difference is reported with a small program that shows it. ::

    python -m healthstore.testing.differential --backends sqlite --minutes 5

Every program follows from a seed and its number, so a run can be repeated. The programs are
drawn by :class:`random.Random` and are values: a program in a file needs no generator to be
replayed, by whatever version of one.
"""

from __future__ import annotations

from healthstore.testing.differential.compare import Difference, Verdict, compare
from healthstore.testing.differential.drawing import draw_program
from healthstore.testing.differential.programs import Program, from_json, to_json
from healthstore.testing.differential.shrink import shrink
from healthstore.testing.differential.stores import MEMORY, Place

__all__ = (
    "MEMORY",
    "Difference",
    "Place",
    "Program",
    "Verdict",
    "compare",
    "draw_program",
    "from_json",
    "shrink",
    "to_json",
)
