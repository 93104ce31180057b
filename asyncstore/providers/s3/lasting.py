"""Uploads that another process began: found by name, or by key and time, and looked into."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from asyncstore.errors import IntegrityError, NotFoundError
from asyncstore.providers.s3.client import Ask
from asyncstore.providers.s3.upload import MARKS, S3Upload
from asyncstore.wire import s3 as wire
from asyncstore.wire.sigv4 import encode_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.providers.s3.capabilities import Facts
    from asyncstore.providers.s3.client import Client
    from asyncstore.providers.s3.faults import Condition

_BEFORE, _AFTER = 30.0, 120.0
"""Seconds around the noted beginning of an upload in which the service may have begun it."""


async def find(
    client: Client,
    facts: Facts,
    key: str,
    token: str,
    *,
    size: int,
    part: int,
    sums: Mapping[int, int],
    condition: tuple[Mapping[str, str], Condition],
) -> tuple[S3Upload, frozenset[int]] | None:
    """Return an upload with the parts that it has; `None` where there is none of that name."""
    mark, name = token[:2], token[2:]
    upload = S3Upload(
        client,
        facts,
        key,
        name,
        size=size,
        condition=condition,
        sums=next((sums for sums, its in MARKS.items() if its == mark), "none"),
    )
    marker: str | None = None
    present: set[int] = set()
    while True:
        query = {"uploadId": upload.name}
        if marker is not None:
            query["part-number-marker"] = marker
        ask = Ask("list_parts", "GET", key, encode_query(query), limit=wire.BODY_MAX)
        try:
            reply = await client.call(ask)
        except NotFoundError as error:
            if error.url != client.locate(key):
                raise  # the bucket is gone
            return None
        page = wire.parts_page(reply.body)
        if isinstance(page, wire.Fault):
            raise client.failed(ask, reply, page)
        for told, length in page.parts:
            if told.number in sums and length == min(part, size - (told.number - 1) * part):
                crc = told.checksum[1] if told.checksum else None
                upload.keep(told.number, length, told.etag, crc)
                present.add(told.number)
        if page.marker is None:
            return upload, frozenset(present)
        if marker is not None and int(page.marker) <= int(marker):
            raise IntegrityError("a listing of parts that goes round in circles")
        marker = page.marker


async def nameless(client: Client, key: str, since: float) -> list[str]:
    """Return the names of a key's uploads that the service began around a time."""
    found: list[str] = []
    markers: tuple[str, str] | None = None
    while True:
        query = {"uploads": "", "prefix": key, "encoding-type": "url"}
        if markers is not None:
            query |= {"key-marker": markers[0], "upload-id-marker": markers[1]}
        ask = Ask("list_uploads", "GET", None, encode_query(query), limit=wire.BODY_MAX)
        reply = await client.call(ask)
        page = wire.uploads_page(reply.body)
        if isinstance(page, wire.Fault):
            raise client.failed(ask, reply, page)
        for name, upload, began in page.uploads:
            if name == key and upload and -_BEFORE <= _seconds(began) - since <= _AFTER:
                found.append(upload)
        if page.markers is None:
            return found
        if page.markers == markers:
            raise IntegrityError("a listing of uploads that goes round in circles")
        markers = page.markers


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return float("inf")
