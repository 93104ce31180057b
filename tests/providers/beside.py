"""Reads awaited, and the same reads begun and not waited for: what comes of them, what was sent."""

from __future__ import annotations

import re
from typing import Any

from asyncstore.errors import StoreError
from asyncstore.layers import Limited
from asyncstore.provider import ability


async def awaited(store, item):
    key, if_match = (item, None) if isinstance(item, str) else (item.key, item.etag)
    return await store.get(key, if_match=if_match)


async def begun(store, item):
    async with store.get_many([item], width=4) as got:
        [outcome] = [outcome async for outcome in got]
    return outcome.result()


async def came_of(read, store, fake, item):
    """What came of a read, and what was asked for it."""
    result: Any
    try:
        blob = await read(store, item)
    except StoreError as found:
        what = {
            name: getattr(found, name)
            for name in ("op", "status", "outcome", "attempts", "request_id")
        }
        text = re.sub(r":\d+", ":PORT", f"{found}")
        result = type(found), text, found.url, what
    else:
        result = bytes(blob), blob.start, blob.meta, blob.meta.modified
    asked = [
        (request.method, request.target, {name for name in request.headers if name != "host"})
        for request in fake.requests[1:]
    ]
    return result, asked


def nothing_is_left(store):
    limited: Any = ability(store.provider, Limited)
    assert limited.reads.used == 0
