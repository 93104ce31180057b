"""The checksum of an object that came in parts, in whatever order they came."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from asyncstore.errors import IntegrityError
from asyncstore.sums import NAMES, SLOW, THREAD_FROM, running

if TYPE_CHECKING:
    from asyncstore.provider import Provider
    from asyncstore.sums import Running
    from asyncstore.types import Buffer, ObjectMeta, Verifier


async def verifier(provider: Provider, meta: ObjectMeta) -> Verifier | None:
    """Return what compares a whole object's bytes with what the service says of them, if it does.

    Args:
        provider: with its layers; asked only where the metadata has no checksum.
        meta: of the version.
    """
    for name in NAMES:
        made = running(name) if name in meta.checksums else None
        if made is not None:
            return _Sum(name, meta.checksums[name], made)
    ask = getattr(provider, "verifier", None)
    found: Verifier | None = None if ask is None else await ask(meta)
    return found


class _Sum:
    """Compares bytes with a checksum of them."""

    def __init__(self, name: str, wanted: str, made: Running) -> None:
        self._name = name
        self._wanted = wanted
        self._made = made

    async def add(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        if self._name in SLOW and len(data) >= THREAD_FROM:
            await run_sync(self._made.update, data)
        else:
            self._made.update(data)

    def verify(self) -> None:
        """Say that these were all."""
        if b64encode(self._made.digest()).decode() != self._wanted:
            raise IntegrityError(f"the bytes that came do not have the object's {self._name}")


class Verifying:
    """Gives a buffer that fills part by part to a verifier, in order.

    What is there at the beginning without a gap is given at once, so that most of the work is
    done while the network is busy with the rest.

    Args:
        verifier: takes the bytes; `None` where only their number is looked at.
        whole: where the parts go.
    """

    def __init__(self, verifier: Verifier | None, whole: memoryview) -> None:
        self._verifier = verifier
        self._whole = whole
        self._there: dict[int, int] = {}  # parts that wait for one before them: start to stop
        self._reach = 0
        self._giving = False

    async def came(self, start: int, stop: int, /) -> None:
        """Say that the bytes `[start, stop)` of the buffer are there."""
        self._there[start] = stop
        if self._giving:
            return  # whoever gives goes on with these
        self._giving = True
        try:
            while (end := self._there.pop(self._reach, None)) is not None:
                if self._verifier is not None:
                    await self._verifier.add(self._whole[self._reach : end])
                self._reach = end
        finally:
            self._giving = False

    def finish(self) -> None:
        """Say that all is there.

        Raises:
            IntegrityError: it is not, or not what the service says it holds.
        """
        if self._reach != len(self._whole):
            raise IntegrityError(f"{self._reach} bytes came of {len(self._whole)}")
        if self._verifier is not None:
            self._verifier.verify()
