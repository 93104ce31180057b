"""Google Cloud Storage as a provider, over its JSON API and the HTTP engine.

An object's version is its generation, and conditions are Google's generation preconditions. Whole
objects go as `uploadType=multipart`, which carries the name, the description and a CRC-32C that
Google checks; parts go over the resumable protocol. Endpoints that are not Google's must first
show that they keep conditions.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from asyncstore.errors import (
    AlreadyExistsError,
    IntegrityError,
    NotFoundError,
    ObjectChangedError,
    PreconditionError,
    StoreError,
)
from asyncstore.provider import Resumed
from asyncstore.providers.gcs.checksum import crc32c_of
from asyncstore.providers.gcs.conditions import Conditions
from asyncstore.providers.gcs.diagnose import diagnose
from asyncstore.providers.gcs.lasting import Left
from asyncstore.providers.gcs.presign import presign
from asyncstore.providers.gcs.reads import GCSStream, Reader
from asyncstore.providers.gcs.session import Session, placed
from asyncstore.providers.gcs.starting import StartedGet
from asyncstore.providers.gcs.upload import ENDS, GCSUpload
from asyncstore.providers.started import sent
from asyncstore.types import WHOLE, GiB, Limits
from asyncstore.wire import gcs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from asyncstore.provider import Asked, Started
    from asyncstore.types import Blob, Buffer, ObjectMeta, Page, Settings, Span
    from asyncstore.wire.gcs_errors import Question

_DELETERS = 32


class GCSProvider:
    """One bucket of Google Cloud Storage.

    Args:
        bucket: its name.
        settings: credentials, endpoint and transport.
        environ: the environment, in place of the process's; for tests.

    Raises:
        ConfigurationError: the credentials or the endpoint are of no known form.
    """

    limits = Limits(
        put=5 * GiB,
        part_min=gcs.QUANTUM,
        part_max=5 * GiB,
        parts=1_000_000,
        object_max=5 * 1024 * GiB,
        delete=100,
        parallel_parts=False,
        engine=True,
    )

    def __init__(
        self, bucket: str, settings: Settings, /, *, environ: Mapping[str, str] | None = None
    ) -> None:
        self._bucket = bucket
        self._checksums = settings.checksums
        self._session = Session(settings, environ)
        self._conditions = Conditions(self._session, bucket)

    def locate(self, key: str, /) -> str:
        """Return `gcs://bucket/key`."""
        return f"gcs://{self._bucket}/{key}"

    async def head(self, key: str, /) -> ObjectMeta:
        """See `Provider.head`."""
        with placed("head", self.locate(key)):
            return await Reader(self._session, self._bucket, key).head()

    async def get(
        self,
        key: str,
        /,
        *,
        span: Span = WHOLE,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Blob:
        """See `Provider.get`; a whole object is compared with Google's checksum."""
        with placed("get", self.locate(key)):
            return await self._reader(key, if_match).get(span, into, most)

    def start_gets(
        self,
        asked: Sequence[Asked],
        ended: Callable[[Any, Blob | None], None],
        /,
        *,
        deadline: float | None = None,
    ) -> Sequence[Started]:
        """See `StartsReads.start_gets`."""
        session, token = self._session, self._session.ready()
        if token is None:
            return ()
        asks: list[StartedGet] = []
        for one in asked[: session.idle()]:
            if one.if_match is not None and not gcs.is_generation(one.if_match):
                break  # `get` says so
            reader = self._reader(one.key, one.if_match)
            asks.append(StartedGet(reader, token, one, self.locate(one.key), ended))
        return sent(asks, session.engine.start(asks, asks, deadline))

    @asynccontextmanager
    async def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AsyncIterator[GCSStream]:
        """See `Provider.open`."""
        with placed("open", self.locate(key)):
            async with self._reader(key, if_match).open(span) as stream:
                yield stream

    def _reader(self, key: str, if_match: str | None) -> Reader:
        return Reader(self._session, self._bucket, key, if_match, self._checksums)

    async def put(
        self,
        key: str,
        data: Buffer,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """See `Provider.put`; Google compares the bytes with our CRC-32C before it keeps them."""
        with placed("put", self.locate(key)):
            condition, question = await self._condition("put", key, if_match, absent=if_absent)
            crc32c = await crc32c_of(data) if self._checksums else None
            resource = gcs.insert_resource(
                key, content_type=content_type, metadata=metadata, crc32c=crc32c
            )
            multipart, body = gcs.insert_body(resource, data, secrets.token_hex(16))
            reply = await self._session.send(
                "POST",
                gcs.insert_target(
                    self._bucket,
                    uploadType="multipart",
                    ifGenerationMatch=condition,
                    fields=gcs.FIELDS,
                ),
                {"content-type": multipart},
                body=body,
                limit=gcs.JSON_CAP,
                write=True,
                # Its own success would be what the condition fails on.
                once=question is not None,
                question=question,
            )
            meta = gcs.parse_ack(reply.body, key)
            gcs.check_ack(meta, len(data), crc32c)
            return meta

    async def begin_upload(
        self,
        key: str,
        /,
        *,
        size: int | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> GCSUpload:
        """See `Provider.begin_upload`; parts go one after another."""
        with placed("begin_upload", self.locate(key)):
            condition = await self._condition("upload", key, if_match, absent=if_absent)
            resource = gcs.insert_resource(key, content_type=content_type, metadata=metadata)
            upload = self._upload(key, condition, resource, size)
            await upload.begin()
            return upload

    def _upload(
        self,
        key: str,
        condition: tuple[str | None, Question],
        resource: dict[str, Any],
        size: int | None,
    ) -> GCSUpload:
        target = gcs.insert_target(
            self._bucket, uploadType="resumable", name=key, ifGenerationMatch=condition[0]
        )
        return GCSUpload(
            self._session,
            target,
            resource,
            self.locate(key),
            size=size,
            question=condition[1],
            checksums=self._checksums,
        )

    async def resume_upload(
        self,
        key: str,
        token: str,
        /,
        *,
        size: int,
        part: int,
        sums: Mapping[int, int],
        check: Callable[[Buffer], int],
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Resumed:
        """See `ResumesUploads.resume_upload`; Google compares the whole at the end."""
        del check
        with placed("resume_upload", self.locate(key)):
            condition = await self._condition("upload", key, None, absent=if_absent)
            resource = gcs.insert_resource(key, content_type=content_type, metadata=metadata)
            left = Left.read(token)
            if left is not None and await self._conditions.keeps("resume", key):
                upload = self._upload(key, condition, resource, size)
                count = await upload.go_on(left, part)
                present = frozenset(range(1, (count or 0) + 1))
                if count is not None and present <= sums.keys():
                    return Resumed(upload, present)
            if left is not None:
                await self._end(left)
            upload = self._upload(key, condition, resource, size)
            await upload.begin()
            return Resumed(upload, frozenset())

    async def drop_uploads(self, key: str, /, *, token: str, since: float) -> None:
        """See `ResumesUploads.drop_uploads`; a session without a name ends by itself in a week."""
        del since
        left = Left.read(token)
        if left is not None:
            with placed("abort", self.locate(key)):
                await self._end(left)

    async def _end(self, left: Left) -> None:
        await self._session.send("DELETE", left.target, expect=ENDS, write=True)

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """See `Provider.copy`; large objects take several calls, all of one generation."""
        with placed("copy", self.locate(source)):
            if if_match is not None and not gcs.is_generation(if_match):
                raise ObjectChangedError("the source is not the version that was asked for")
            if if_match is not None or if_absent:
                await self._conditions.require("copy", target)
            query = {
                "ifSourceGenerationMatch": if_match,
                "ifGenerationMatch": "0" if if_absent else None,
            }
            try:
                return await self._rewrite(source, target, query)
            except PreconditionError:
                raise await self._unmet_copy(source, if_match, if_absent=if_absent) from None

    async def _rewrite(
        self, source: str, target: str, query: Mapping[str, str | None]
    ) -> ObjectMeta:
        token: str | None = None
        done = -1
        while True:
            reply = await self._session.send(
                "POST",
                gcs.rewrite_target(self._bucket, source, target, **query, rewriteToken=token),
                limit=gcs.JSON_CAP,
                write=True,
                once=any(query.values()),
            )
            progress = gcs.parse_rewrite(reply.body, target)
            if progress.meta is not None:
                return progress.meta
            if progress.done <= done:
                raise IntegrityError("the service's copy does not go on", outcome="unknown")
            token, done = progress.token, progress.done

    async def _unmet_copy(
        self, source: str, if_match: str | None, *, if_absent: bool
    ) -> StoreError:
        """Tell which of a copy's conditions failed."""
        changed = ObjectChangedError("the source is not the version that was asked for", status=412)
        if not if_absent:
            return changed
        if if_match is not None:
            meta = await Reader(self._session, self._bucket, source).head()
            if meta.etag != if_match:
                return changed
        return AlreadyExistsError("there is an object already", status=412)

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """See `Provider.delete`."""
        failed: dict[str, StoreError] = {}
        waiting = iter(dict.fromkeys(keys))

        async def work() -> None:
            for key in waiting:
                try:
                    await self._delete(key)
                except StoreError as error:
                    failed[key] = error.at("delete", self.locate(key))

        workers = [
            asyncio.get_running_loop().create_task(work()) for _ in range(min(_DELETERS, len(keys)))
        ]
        try:
            for worker in workers:
                await worker
        finally:
            for worker in workers:
                worker.cancel()
            if workers:
                await asyncio.wait(workers)
        return failed

    async def _delete(self, key: str) -> None:
        try:
            await self._session.send(
                "DELETE",
                gcs.object_target(self._bucket, key),
                expect=(200, 204),
                write=True,
            )
        except NotFoundError as error:
            if "bucket does not exist" in error.message:
                raise

    async def list_page(
        self,
        prefix: str,
        /,
        *,
        cursor: str | None = None,
        after: str | None = None,
        delimiter: bool = False,
        limit: int = 1000,
    ) -> Page:
        """See `Provider.list_page`."""
        with placed("list_page", self.locate(prefix)):
            target = gcs.list_target(
                self._bucket,
                prefix,
                page_token=cursor,
                after=after,
                delimiter=delimiter,
                limit=limit,
            )
            reply = await self._session.send("GET", target, limit=gcs.JSON_CAP)
            return gcs.parse_page(reply.body, prefix, page_token=cursor, after=after, limit=limit)

    async def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT", "HEAD", "DELETE"] = "GET",
        expires: float = 900.0,
        content_type: str | None = None,
    ) -> str:
        """See `Presigns.presign`; V4, signed by a service account's key or the IAM service."""
        with placed("presign", self.locate(key)):
            return await presign(
                self._session, self._bucket, key, method, expires, content_type=content_type
            )

    async def diagnose(self) -> Mapping[str, Any]:
        """See `Diagnoses.diagnose`."""
        with placed("diagnose", self.locate("")):
            return await diagnose(self._session, self._bucket, self._conditions.known)

    async def try_writes(self, prefix: str, /) -> None:
        """See `TriesWrites.try_writes`."""
        with placed("diagnose", self.locate(prefix)):
            await self._conditions.find_all(prefix)

    async def aclose(self) -> None:
        """See `Provider.aclose`."""
        await self._session.aclose()

    async def _condition(
        self, kind: Literal["put", "upload"], key: str, if_match: str | None, *, absent: bool
    ) -> tuple[str | None, Question]:
        """Return what a write's condition is on the wire, once it is known to be kept."""
        if if_match is None and not absent:
            return None, None
        if if_match is not None and not gcs.is_generation(if_match):
            raise PreconditionError("the object is not the version of if_match")
        await self._conditions.require(kind, key)
        return ("0", "absent") if if_match is None else (if_match, "match")
