"""Objects of a listing as columns: what a thousand of them say, without a thousand objects.

Whoever walks through a listing gets an `ObjectMeta` of each, made as it is looked at. Whoever
holds whole pages against each other, as the planning of a transfer does, compares columns, and
none is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, repeat
from typing import TYPE_CHECKING, overload

from asyncstore.types import ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Iterator


class Columns(Sequence[ObjectMeta]):
    """A sequence of objects, of which the most asked for are there side by side.

    Args:
        keys: of each object, as are the others; all are of one length.
        sizes: in bytes.
        etags: as `ObjectMeta` has them.
        modified: when each was written, as the service told it; `None` where nobody wants to know.

    Attributes:
        keys, sizes, etags: as given.
    """

    __slots__ = ("_metas", "_modified", "etags", "keys", "sizes")

    def __init__(
        self,
        keys: list[str],
        sizes: list[int],
        etags: list[str | None],
        modified: Sequence[str | int | None] | None = None,
    ) -> None:
        self.keys = keys
        self.sizes = sizes
        self.etags = etags
        self._modified = modified
        self._metas: Sequence[ObjectMeta] | None = None

    @classmethod
    def of(cls, metas: Sequence[ObjectMeta], /) -> Columns:
        """Return the columns of objects that are made already, and may say more than these."""
        if isinstance(metas, Columns):
            return metas
        made = cls(
            [meta.key for meta in metas],
            [meta.size for meta in metas],
            [meta.etag for meta in metas],
        )
        made._metas = metas
        return made

    @property
    def is_all(self) -> bool:
        """Whether the columns, with the times, are all that is known of the objects."""
        return self._metas is None

    def below(self, prefix: str, /) -> Columns:
        """Return the same objects by their keys behind a prefix, without one of that very name.

        Args:
            prefix: all keys begin with it; `is_all` holds.
        """
        if not prefix:
            return self
        if prefix in self.keys:
            return self.chosen([key != prefix for key in self.keys]).below(prefix)
        start = len(prefix)
        return self.named([key[start:] for key in self.keys])

    def named(self, keys: list[str], /) -> Columns:
        """Return the same objects by other keys; `is_all` holds."""
        return Columns(keys, self.sizes, self.etags, self._modified)

    def chosen(self, which: Sequence[bool], /) -> Columns:
        """Return some of the objects: those of which `which` says so, at the same place."""
        chosen = Columns(
            list(compress(self.keys, which)),
            list(compress(self.sizes, which)),
            list(compress(self.etags, which)),
            None if self._modified is None else list(compress(self._modified, which)),
        )
        chosen._metas = None if self._metas is None else list(compress(self._metas, which))
        return chosen

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int, /) -> ObjectMeta: ...
    @overload
    def __getitem__(self, at: slice, /) -> Columns: ...
    def __getitem__(self, at: int | slice, /) -> ObjectMeta | Columns:
        metas, modified = self._metas, self._modified
        if isinstance(at, slice):
            times = None if modified is None else modified[at]
            part = Columns(self.keys[at], self.sizes[at], self.etags[at], times)
            part._metas = None if metas is None else metas[at]
            return part
        if metas is not None:
            return metas[at]
        time = None if modified is None else modified[at]
        return _made(self.keys[at], self.sizes[at], self.etags[at], time)

    def __iter__(self) -> Iterator[ObjectMeta]:
        if self._metas is not None:
            return iter(self._metas)
        times = repeat(None) if self._modified is None else self._modified
        return map(_made, self.keys, self.sizes, self.etags, times)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Columns({list(self)!r})"


def _made(key: str, size: int, etag: str | None, modified: str | int | None) -> ObjectMeta:
    return ObjectMeta(key, size, etag=etag, modified=modified)
