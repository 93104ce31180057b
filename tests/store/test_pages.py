"""Pages of a listing: the next one is on its way while this one is used, and none is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from asyncstore.store._listing import Listing
from asyncstore.types import ObjectMeta, Page

pytestmark = pytest.mark.asyncio


class Pages:
    """A service with pages of two objects; notes which ones are asked for."""

    def __init__(self, count):
        self.count = count
        self.asked = []

    async def __call__(self, cursor):
        number = int(cursor or 0)
        self.asked.append(number)
        objects = [ObjectMeta(f"{number}{letter}", 1) for letter in "ab"]
        return Page(objects, (), None if number + 1 == self.count else str(number + 1))

    @property
    def keys(self):
        return [f"{number}{letter}" for number in range(self.count) for letter in "ab"]


def listing_of(pages):
    return Listing(pages, lambda meta: meta, "")


async def test_the_next_page_is_asked_for_before_the_first_object_is_given():
    pages = Pages(3)
    listing = listing_of(pages)
    await anext(listing)
    assert pages.asked == [0, 1]  # though nobody has let the loop go on since
    await listing.columns()
    assert len(await listing.columns()) == 2
    assert pages.asked == [0, 1, 2]
    await listing.aclose()


@pytest.mark.parametrize("turns", range(1, 5))
async def test_no_object_is_lost_where_whoever_waits_for_it_is_cancelled(turns):
    pages = Pages(3)
    listing = listing_of(pages)
    found = [(await anext(listing)).key, (await anext(listing)).key]
    waiting = asyncio.create_task(anext(listing))
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        found.append((await waiting).key)
    found += [meta.key async for meta in listing]
    assert found == pages.keys


async def test_what_was_kept_for_somebody_who_was_cancelled_is_gone_once_it_is_closed():
    listing = listing_of(Pages(3))
    waiting = asyncio.create_task(anext(listing))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await listing.aclose()
    assert [meta async for meta in listing] == []
