"""What became of one item of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from asyncstore.errors import StoreError

T = TypeVar("T")
V = TypeVar("V")


class Outcome(Generic[T, V]):
    """One item's end: a value or an error, never both.

    Attributes:
        item: as it was given.
        index: its place among the items, from 0.
        value: what the call returned, or `None`.
        error: why it failed, or `None`.
    """

    __slots__ = ("error", "index", "item", "value")

    def __init__(
        self, item: T, index: int, value: V | None = None, error: StoreError | None = None
    ) -> None:
        self.item = item
        self.index = index
        self.value = value
        self.error = error

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.error is None

    def result(self) -> V:
        """Return the value.

        Raises:
            StoreError: the item's error.
        """
        if self.error is not None:
            raise self.error
        return cast("V", self.value)

    def __repr__(self) -> str:
        end = repr(self.value) if self.error is None else repr(self.error)
        return f"Outcome({self.item!r}: {end})"
