"""Copies at the service: one request up to 5 GiB, above that part by part of one version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from asyncstore.errors import (
    AlreadyExistsError,
    IntegrityError,
    NotFoundError,
    ObjectChangedError,
    StoreError,
)
from asyncstore.plan import cut, part_size
from asyncstore.providers.s3 import upload as uploads
from asyncstore.providers.s3.client import Ask
from asyncstore.providers.s3.reading import head, quoted
from asyncstore.types import MiB, ObjectMeta
from asyncstore.wire import s3 as wire
from asyncstore.wire.sigv4 import encode_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.http import Response
    from asyncstore.providers.s3.capabilities import Probes
    from asyncstore.providers.s3.client import Client
    from asyncstore.types import Limits

PART = 256 * MiB
"""Preferred size of a copied part: the service moves the bytes, so parts are large."""
_AT_ONCE = 8
_CLEANUP = 5.0
# What a copy in parts must say again, as the service copies only bytes.
_KEPT = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)


class Copying:
    """One copy.

    Args:
        client: the bucket's.
        probes: of the bucket.
        limits: of the provider.
        source, target: keys.
        if_match: the source's version.
        if_absent: create the target only.
    """

    def __init__(
        self,
        client: Client,
        probes: Probes,
        limits: Limits,
        source: str,
        target: str,
        *,
        if_match: str | None,
        if_absent: bool,
    ) -> None:
        self._client = client
        self._probes = probes
        self._limits = limits
        self._source = source
        self._target = target
        self._if_match = if_match
        self._if_absent = if_absent

    async def run(self) -> ObjectMeta:
        """Copy; see `Provider.copy`."""
        client = self._client
        if self._if_match is not None:
            await self._probes.require("copy if_match", self._target)
        meta, headers = await head(client, self._source, op="copy", if_match=self._if_match)
        if self._source == self._target:
            # S3 refuses a copy onto itself, which would change nothing.
            if self._if_absent:
                raise AlreadyExistsError("there is an object already").at(
                    "copy", client.locate(self._target)
                )
            return meta
        if meta.size > self._limits.put:
            return await self._in_parts(meta, headers)
        if self._if_absent and not await self._probes.honours("copy if_absent", self._target):
            return await self._in_parts(meta, headers)
        return await self._at_once(meta)

    async def _at_once(self, meta: ObjectMeta) -> ObjectMeta:
        headers = await self._source_headers(meta)
        if self._if_absent:
            headers["if-none-match"] = "*"
        ask = Ask(
            "copy",
            "PUT",
            self._target,
            headers=headers,
            replayable=not self._if_absent,
            condition="source",
        )
        try:
            reply = await self._client.call(ask)
        except ObjectChangedError:
            # 412 is for either condition.
            if self._if_absent and await self._is_taken():
                raise AlreadyExistsError("there is an object already", status=412).at(
                    "copy", self._client.locate(self._target)
                ) from None
            raise
        told = self._told(ask, reply, "CopyObjectResult")
        etag = quoted(told.get("ETag"))
        if etag is None:
            raise self._unknown("the service acknowledged the copy without an ETag")
        version = reply.headers.get("x-amz-version-id")
        modified = told.get("LastModified")
        return meta.replace(key=self._target, etag=etag, version=version, modified=modified)

    async def _in_parts(self, meta: ObjectMeta, headers: Mapping[str, str]) -> ObjectMeta:
        kept = {name: headers[name] for name in _KEPT if name in headers}
        kept |= {f"x-amz-meta-{name}": text for name, text in meta.metadata.items()}
        if self._if_absent:
            await self._probes.require("upload if_absent", self._target)
        condition = ({"if-none-match": "*"}, "absent") if self._if_absent else ({}, None)
        facts = await self._probes.facts()
        upload = await uploads.begin(
            self._client,
            facts,
            self._target,
            kept,
            op="copy",
            size=meta.size,
            condition=condition,  # type: ignore[arg-type]
        )
        try:
            if meta.size:
                await self._copy_parts(upload, meta)
            else:
                await upload.put_part(1, b"")
            done = await upload.complete()
        except BaseException as error:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP):
                await _abort_quietly(upload)
            if isinstance(error, StoreError):
                error.op, error.url = "copy", self._client.locate(self._target)
            raise
        return meta.replace(key=self._target, etag=done.etag, version=done.version, modified=None)

    async def _copy_parts(self, upload: uploads.S3Upload, meta: ObjectMeta) -> None:
        spans = cut(0, meta.size, part=part_size(meta.size, self._limits, preferred=PART))
        todo = iter(enumerate(spans, 1))
        failures: list[StoreError] = []

        async def work() -> None:
            for number, (start, stop) in todo:
                try:
                    await self._copy_part(upload, meta, number, start, stop)
                except StoreError as error:
                    failures.append(error)
                if failures:
                    return

        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_ONCE, len(spans))):
                tasks.start_soon(work)
        if failures:
            raise failures[0]

    async def _copy_part(
        self, upload: uploads.S3Upload, meta: ObjectMeta, number: int, start: int, stop: int
    ) -> None:
        headers = await self._source_headers(meta)
        headers["x-amz-copy-source-range"] = f"bytes={start}-{stop - 1}"
        query = encode_query({"partNumber": str(number), "uploadId": upload.name})
        ask = Ask("copy", "PUT", self._target, query, headers, condition="source")
        told = self._told(ask, await self._client.call(ask), "CopyPartResult")
        etag = told.get("ETag", "")
        if not etag:
            raise self._unknown("the service acknowledged a copied part without an ETag")
        upload.keep(number, stop - start, etag, told.get("ChecksumCRC64NVME"))

    async def _source_headers(self, meta: ObjectMeta) -> dict[str, str]:
        endpoint = await self._client.endpoint()
        headers = {"x-amz-copy-source": endpoint.copy_source(self._source)}
        if meta.etag is not None:
            headers["x-amz-copy-source-if-match"] = meta.etag
        return headers

    def _told(self, ask: Ask, reply: Response, root: str) -> Mapping[str, str]:
        try:
            told = wire.fields(reply.body, root)
        except IntegrityError as error:
            error.outcome = "unknown"
            raise error.at("copy", self._client.locate(self._target)) from None
        if isinstance(told, wire.Fault):
            raise self._client.failed(ask, reply, told)
        return told

    async def _is_taken(self) -> bool:
        try:
            await head(self._client, self._target, op="copy")
        except NotFoundError:
            return False
        return True

    def _unknown(self, message: str) -> IntegrityError:
        return IntegrityError(message, outcome="unknown").at(
            "copy", self._client.locate(self._target)
        )


async def _abort_quietly(upload: uploads.S3Upload) -> None:
    try:
        await upload.abort()
    except StoreError:
        return  # what failed first is told; a lifecycle rule of the bucket sweeps the rest
