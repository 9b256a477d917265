"""How a request hears that its caller has left."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

T = TypeVar("T")


class Departure:
    """The end of a connection, for the request that is being answered on it.

    ASGI tells of it to whoever waits for the next message; that takes a task beside each request.
    """

    def __init__(self) -> None:
        self._has_come = False
        self._task: asyncio.Task[Any] | None = None

    def come(self) -> None:
        """Tell that the caller has left."""
        self._has_come = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def until(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work returns, unless the caller leaves or has left: that cancels it.

        Raises:
            ClientDisconnect: he has left.
            BaseException: what the work raises.
        """
        if self._has_come:
            work.close()
            raise ClientDisconnect
        task = self._task = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError:
            has_come = self._task is not task  # `come` took it away
            if task is None or not has_come or task.uncancel():
                raise  # for another reason, or for another one as well
            raise ClientDisconnect from None
        finally:
            self._task = None
