"""What is asked of a MongoDB deployment to examine it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from time import time
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from healthstore.abc.examination import Examination, Setting

__all__ = ("examine",)


async def examine(admin: AsyncDatabase[Any], arguments: Mapping[str, Any]) -> Examination:
    """Ask the server behind a client's ``admin`` database; ``arguments`` made that client."""
    before = time()
    hello = await admin.command("hello")
    middle = (before + time()) / 2
    clock = hello.get("localTime")
    encrypted = bool(arguments.get("tls"))
    return Examination(
        (_topology(hello), Setting("write concern", _concern(arguments))),
        encryption="TLS" if encrypted else "",
        verified=encrypted and not arguments.get("tlsAllowInvalidCertificates", False),
        skew=_seconds(clock) - middle if isinstance(clock, datetime) else None,
        zone="UTC",
        connections=await _connections(admin),
    )


def _topology(hello: Mapping[str, Any]) -> Setting:
    if hello.get("msg") == "isdbgrid":
        return Setting("topology", "sharded cluster")
    if "setName" in hello:
        size = len(hello.get("hosts", ()))
        return Setting("topology", f"replica set {hello['setName']}, {size} with data")
    return Setting(
        "topology",
        "standalone",
        "a standalone server has no transactions: writes of several documents are refused",
        "make it a replica set, one node is enough",
    )


def _concern(arguments: Mapping[str, Any]) -> str:
    journal = ", journal" if arguments.get("journal") else ""
    return f"{arguments.get('w', 1)}{journal}"


def _seconds(instant: datetime) -> float:
    """Return the seconds since 1970; without a time zone it is in UTC."""
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


async def _connections(admin: AsyncDatabase[Any]) -> int | None:
    """Return how many connections the server takes; None if the user may not know."""
    with suppress(OperationFailure):
        status: Mapping[str, Any] = await admin.command("serverStatus")
        figures = status.get("connections", {})
        if "available" in figures:
            return int(figures["current"]) + int(figures["available"])
    return None
