"""The command ``healthstore``. It needs the extra ``cli``, and says so where that is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from healthstore.cli.exits import Exit

__all__ = ("main",)

_NEEDED = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``arguments`` are those of the process."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"error: the command healthstore needs {' and '.join(missing)}\n"
            '  hint: python -m pip install "healthstore[cli]"',
            file=sys.stderr,
        )
        return Exit.MISSING
    from healthstore.cli.app import run  # noqa: PLC0415 - typer may be absent

    return run(sys.argv[1:] if arguments is None else arguments)
