"""Read-only: every write is refused before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asyncstore.errors import ReadOnlyError
from asyncstore.layers.base import Layer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.types import Op

T = TypeVar("T")


class ReadOnly(Layer):
    """Let reads pass and refuse writes."""

    __slots__ = ()

    async def around(self, op: Op, call: Callable[[], Awaitable[T]], /) -> T:
        """Make the call if it reads.

        Raises:
            ReadOnlyError: it writes.
        """
        if op.write:
            raise ReadOnlyError("opened read-only").at(op.name, self.locate(op.key))
        return await call()
