"""A trace tells of every call, once, without secrets, and harms none."""

from __future__ import annotations

import logging

import pytest

from asyncstore.errors import NotFoundError, ReadOnlyError, UnavailableError
from asyncstore.layers import Event, Options, ReadOnly, Traced, layered

pytestmark = pytest.mark.anyio


async def test_every_call_is_told_with_its_bytes_and_its_end(scripted):
    events: list[Event] = []
    layer = Traced(scripted, events.append)
    await layer.put("k", b"123")
    await layer.get("k")
    async with layer.open("k") as stream:
        assert stream.meta.size == 3
        async for _ in stream:
            pass
    with pytest.raises(NotFoundError):
        await layer.head("none")
    with pytest.raises(NotFoundError):
        async with layer.open("none"):
            pass
    assert [(e.op, e.url, e.bytes, e.error) for e in events] == [
        ("put", "mem:///k", 3, None),
        ("get", "mem:///k", 3, None),
        ("open", "mem:///k", 3, None),
        ("head", "mem:///none", None, "NotFoundError"),
        ("open", "mem:///none", None, "NotFoundError"),
    ]
    assert all(e.seconds >= 0 for e in events)


async def test_a_stream_that_breaks_is_told_with_what_came(scripted):
    events: list[Event] = []
    await scripted.put("k", b"123")
    scripted.cuts.append(2)
    scripted.cut_error = UnavailableError("cut")
    async with Traced(scripted, events.append).open("k") as stream:
        assert bytes(await anext(stream)) == b"12"
        with pytest.raises(UnavailableError):
            await anext(stream)
    assert [(e.bytes, e.error) for e in events] == [(2, "UnavailableError")]


async def test_a_trace_function_that_raises_changes_nothing(scripted, caplog):
    def bad(_event):
        raise RuntimeError("oops")

    await Traced(scripted, bad).put("k", b"1")
    assert "the trace function raised RuntimeError" in caplog.text


async def test_the_log_is_told_at_debug(scripted, caplog):
    with caplog.at_level(logging.DEBUG, "asyncstore"):
        await layered(scripted, Options()).put("k", b"1")
    assert "op='put', url='mem:///k'" in caplog.text


async def test_a_retried_call_is_told_once(scripted):
    events: list[Event] = []
    scripted.fail("head", UnavailableError("503"))
    await scripted.put("k", b"")
    await layered(scripted, Options(trace=events.append)).head("k")
    assert [(e.op, e.error) for e in events] == [("head", None)]


async def test_read_only_refuses_every_write_before_anything_is_sent(scripted):
    layer = ReadOnly(scripted)
    for write in (
        lambda: layer.put("k", b""),
        lambda: layer.begin_upload("k"),
        lambda: layer.copy("a", "b"),
        lambda: layer.delete(["k"]),
    ):
        with pytest.raises(ReadOnlyError):
            await write()
    assert scripted.calls == []
    await scripted.put("k", b"")
    await layer.get("k")
    await layer.head("k")
    await layer.list_page("")
