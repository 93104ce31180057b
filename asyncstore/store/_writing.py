"""Writes: one request for what is small, parts at once for what is large, nothing left behind."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from asyncstore.errors import ConfigurationError, ObjectChangedError, StoreError
from asyncstore.plan import part_size
from asyncstore.store._sources import opened
from asyncstore.store._together import each
from asyncstore.types import MiB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from asyncstore.provider import Provider, Upload
    from asyncstore.store._arguments import Conditions
    from asyncstore.store._sources import Reader
    from asyncstore.types import Buffer, ObjectMeta

PART = 8 * MiB
WIDTH = 4
"""Parts of one write that are under way, and so in memory, at once."""

LARGE = 32 * MiB
"""Writes of more than this go up in parts, where parts may be sent at once."""

_TIDY = 5.0  # seconds an upload's abort may take


def flat(data: Any, /) -> Buffer:
    """View bytes, a memoryview, a NumPy array or any C-contiguous buffer as flat bytes.

    Raises:
        TypeError: it is no such buffer; the message says what to write.
    """
    if isinstance(data, bytes | bytearray):
        return data
    if isinstance(data, str):
        raise TypeError("put takes bytes, not text: write text.encode()")
    try:
        view = memoryview(data)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"put takes bytes or a buffer, not {type(data).__name__}: {error}; "
            "put_stream takes files and iterables"
        ) from None
    if not view.c_contiguous:
        raise TypeError("the array is not contiguous: write numpy.ascontiguousarray(array)")
    return view.cast("B") if view.nbytes else b""


async def put_large(
    provider: Provider, key: str, data: Buffer, conditions: Conditions
) -> ObjectMeta:
    """Write bytes that are in memory, more than `LARGE`."""
    size = len(data)
    limits = provider.limits
    if size <= limits.put and not (limits.engine and limits.parallel_parts):
        return await provider.put(key, data, **conditions)
    view = memoryview(data)
    part = part_size(size, limits, preferred=PART)
    spans = ((n + 1, at, min(at + part, size)) for n, at in enumerate(range(0, size, part)))
    upload = await provider.begin_upload(key, size=size, **conditions)

    async def send(item: tuple[int, int, int]) -> None:
        number, start, stop = item
        await upload.put_part(number, view[start:stop])

    try:
        await each(spans, send, width=WIDTH * 2 if limits.parallel_parts else 1)
        return await upload.complete()
    except BaseException:
        await _give_up(upload)
        raise


async def put_stream(
    provider: Provider,
    key: str,
    source: Any,
    conditions: Conditions,
    *,
    size: int | None = None,
    part: int | None = None,
) -> ObjectMeta:
    """Write what a source gives, as it gives it; the object is there only if all of it came."""
    limits = provider.limits
    async with opened(source) as reader:
        known = reader.size if size is None else size
        if part is not None and not limits.part_min <= part <= limits.part_max:
            raise ConfigurationError(
                f"part_size={part}: {limits.part_min} to {limits.part_max} bytes are possible"
            )

        def length(number: int) -> int:
            return part_size(known, limits, preferred=part or PART, number=number)

        first = await reader.read(length(1))
        if len(first) < length(1):
            _check_size(len(first), known)
            await reader.unchanged()
            return await provider.put(key, first, **conditions)
        upload = await provider.begin_upload(key, size=known, **conditions)
        sent = _Sent()

        async def send(item: tuple[int, Buffer]) -> None:
            number, data = item
            await upload.put_part(number, data)

        try:
            async with aclosing(
                _parts(reader, first, known=known, length=length, sent=sent)
            ) as parts:
                await each(parts, send, width=WIDTH if limits.parallel_parts else 1)
            _check_size(sent.size, known)
            await reader.unchanged()
            return await upload.complete()
        except BaseException:
            await _give_up(upload)
            raise


@dataclass(slots=True)
class _Sent:
    size: int = 0


async def _parts(
    reader: Reader, data: Buffer, *, known: int | None, length: Callable[[int], int], sent: _Sent
) -> AsyncGenerator[tuple[int, Buffer]]:
    """Number the source's parts, each as long as `length(number)` says, but for the last."""
    number = 1
    while data:
        sent.size += len(data)
        if known is not None and sent.size > known:
            return
        yield number, data
        if len(data) < length(number):
            return
        number += 1
        data = await reader.read(length(number))


def _check_size(sent: int, known: int | None) -> None:
    if known is not None and sent != known:
        raise ObjectChangedError(
            f"the source gave {sent} bytes, not {known}, and nothing was written"
        )


async def _give_up(upload: Upload) -> None:
    """Abort, whatever is being cancelled, but not for ever; the first error is the one to tell."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(_TIDY):
        try:
            await upload.abort()
        except StoreError:
            return
