"""What a user's type checker sees: mypy reads this file strictly, pytest runs it."""
# mypy: disallow-untyped-defs, disallow-incomplete-defs, disallow-untyped-calls

from __future__ import annotations

import ast
from collections.abc import Mapping, MutableSequence, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import assert_type

import pytest

import asyncstore
from asyncstore import Blob, ObjectMeta, Span, Store, StoreURL, open_store


@pytest.mark.anyio
async def test_a_store_is_typed() -> None:
    async with open_store("mem://typed") as store:
        assert_type(store, Store)
        assert_type(store.url, StoreURL)

        meta = await store.put("a/b", b"0123456789", metadata={"by": "me"})
        assert_type(meta, ObjectMeta)
        assert_type(meta.size, int)
        assert_type(meta.etag, str | None)
        assert_type(meta.modified, datetime | None)
        assert_type(meta.metadata, Mapping[str, str])

        blob = await store.get("a/b", span=(0, 5))
        assert_type(blob, Blob)
        assert_type(bytes(blob), bytes)
        assert_type(await store.get("a/b", span=slice(-3, None)), Blob)
        assert_type(await store.get_range("a/b", 2, 4), Blob)
        assert_type(await store.get_ranges("a/b", [(0, 1), Span(4, 5)]), list[Blob])
        assert_type(await store.get_into("a/b", bytearray(10)), Blob)

        async with store.stream("a/b") as stream:
            assert_type(stream.meta, ObjectMeta)
            async for view in stream:
                assert_type(view, memoryview)

        async for one in store.list("a/"):
            assert_type(one, ObjectMeta)
        async for folder, folders, objects in store.walk():
            assert_type(folder, str)
            assert_type(folders, MutableSequence[str])
            assert_type(objects, Sequence[ObjectMeta])

        assert_type(await store.head("a/b"), ObjectMeta)
        assert_type(await store.exists("a/b"), bool)
        await store.delete("a/b")


@pytest.mark.anyio
async def test_a_path_may_be_a_path(tmp_path: Path) -> None:
    async with open_store(tmp_path, read_only=True) as store:
        assert_type(await store.exists("a"), bool)


@pytest.mark.anyio
async def test_errors_are_typed() -> None:
    async with open_store("mem://typed-errors") as store:
        try:
            await store.get("missing")
        except asyncstore.NotFoundError as error:
            assert_type(error.op, str | None)
            assert_type(error.url, str | None)
            assert_type(error.status, int | None)
            assert_type(error.retryable, bool)


@pytest.mark.parametrize("module", ["asyncstore"])
def test_a_type_checker_sees_every_public_name(module: str) -> None:
    file = import_module(module).__file__
    assert file is not None
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    seen = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asyncstore")
        for alias in node.names
    }

    assert set(import_module(module).__all__) - {"__version__"} <= seen
