"""The clinic's books stay right while its server is killed: many processes, counters, few doses."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest
from tests.faults.servers import PrivateServer

CLINIC = Path(__file__).parents[2] / "examples" / "clinic.py"
KILLS = 3
BOOKS = b"24 booked, 40 given, 0 left, 400 ratings, 1200 stars"


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
async def test_books_are_right_whenever_the_server_is_killed(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Nobody is booked twice, no dose is given that is not there, and no rating is lost."""
    server: PrivateServer = request.getfixturevalue(f"private_{name}")
    variable = f"HEALTHSTORE_TEST_{name.upper()}_URL"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CLINIC), f"--chain={name}", "--rounds=400", "--tasks=8"),
        env={**os.environ, variable: server.url},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert program.stdout is not None
        assert await program.stdout.readuntil(b": ") == f"{name}: ".encode()
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0.3, 1))  # noqa: S311 - no secret
            assert program.returncode is None, "the work ended before the server was killed"
            server.kill()
            await server.restart()
        said = await program.stdout.read()
        assert await program.wait() == 0
        assert said.strip() == BOOKS
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
