"""Why a line of a file is not read as a JSON object."""

from __future__ import annotations

import json
from math import isinf

__all__ = ("unread",)

_NO_OBJECT = "is no JSON object"


class _RefusedError(Exception):
    """JSON that Python's module would read, but no store keeps."""


def unread(line: bytes) -> str:
    """Return what is wrong with a line that was not read; no value of it is told.

    Only lines that were refused are looked at: it takes ten times as long as reading them.
    """
    try:
        value: object = json.loads(
            line, parse_constant=_constant, parse_float=_number, parse_int=_number
        )
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        return "is no UTF-8"
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is not valid Unicode"
    except RecursionError:
        return "is nested too deep"
    except _RefusedError as error:
        return str(error)
    except ValueError:
        return _NO_OBJECT
    return _NO_OBJECT


def _constant(_: str) -> None:
    raise _RefusedError("holds NaN or infinity, which is no JSON")


def _number(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _RefusedError("holds a number beyond those of 64-bit floats")
    return number
