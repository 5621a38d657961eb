"""What the fixtures lend to tests, and how a lender that fails says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import pytest

if TYPE_CHECKING:
    from healthstore.abc import Backend
    from healthstore.manager import DatabaseManager
    from healthstore.testing.provision import Lent

__all__ = ("EmptyBackend", "LendDatabase", "RolledBack", "plainly")

EmptyBackend: TypeAlias = "Callable[[str], AbstractAsyncContextManager[Backend]]"
LendDatabase: TypeAlias = "Callable[[str], AbstractAsyncContextManager[Lent]]"
RolledBack: TypeAlias = "Callable[..., AbstractAsyncContextManager[DatabaseManager]]"
T = TypeVar("T")


@asynccontextmanager
async def plainly(
    make: Callable[[], AbstractAsyncContextManager[T]],
) -> AsyncGenerator[T, None]:
    """Make a context and enter it; an error of ours fails the test with its text alone.

    Whatever failed there is no mistake of the test, and frames could show a URL's password.
    """
    from healthstore.errors import HealthstoreError  # noqa: PLC0415 - only when it is needed

    async with AsyncExitStack() as stack:
        try:
            entered = await stack.enter_async_context(make())
        except HealthstoreError as error:
            reason = str(error)
        else:
            yield entered
            return
    pytest.fail(reason, pytrace=False)
