"""``python -m healthstore`` is the command ``healthstore``."""

from __future__ import annotations

import sys

from healthstore.cli import main

__all__ = ()

if __name__ == "__main__":
    sys.exit(main())
