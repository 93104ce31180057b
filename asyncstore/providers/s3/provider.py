"""The S3 provider: the contract's methods, each handed to the module that knows about it."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from asyncstore.errors import ConfigurationError, NotFoundError, NotSupportedError, StoreError
from asyncstore.provider import Resumed
from asyncstore.providers.s3 import deleting, lasting, reading, starting, writing
from asyncstore.providers.s3 import upload as uploads
from asyncstore.providers.s3.capabilities import CONDITIONS, Probes
from asyncstore.providers.s3.client import Ask, Client, Placed
from asyncstore.providers.s3.copying import Copying
from asyncstore.providers.s3.faults import clock_offset
from asyncstore.providers.s3.reading import Reading
from asyncstore.types import WHOLE, Limits, Page, Settings
from asyncstore.wire import s3 as wire
from asyncstore.wire.sigv4 import EXPIRES_MAX, encode_query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence

    from asyncstore.provider import Asked, Started
    from asyncstore.providers.s3.reading import S3Stream
    from asyncstore.types import Blob, Buffer, ObjectMeta, Span, Verifier
    from asyncstore.url import StoreURL

_LIMITS = Limits(engine=True)
_LOOKALIKE = Limits(engine=True, sorted=False)


def connect(url: StoreURL, settings: Settings) -> S3Provider:
    """Make a provider of a URL's bucket. No I/O.

    Raises:
        ConfigurationError: the credentials or the address are of no known form.
    """
    return S3Provider(url.bucket, settings)


class S3Provider:
    """One bucket of Amazon S3 or of a service that speaks its language.

    Args:
        bucket: its name.
        settings: where, who and how; see `Settings`.

    Raises:
        ConfigurationError: the credentials or the address are of no known form.
    """

    def __init__(self, bucket: str, settings: Settings | None = None) -> None:
        self._client = Client(bucket, settings or Settings())
        self._probes = Probes(self._client)

    def __repr__(self) -> str:
        return f"S3Provider({self._client.bucket!r})"

    @property
    def limits(self) -> Limits:
        """What the service takes; only AWS is known to sort its listings by UTF-8 bytes."""
        return _LIMITS if self._client.is_aws else _LOOKALIKE

    def locate(self, key: str, /) -> str:
        """Return the URL of a key."""
        return self._client.locate(key)

    async def head(self, key: str, /) -> ObjectMeta:
        """Return an object's metadata."""
        return (await reading.head(self._client, key))[0]

    async def verifier(self, meta: ObjectMeta, /) -> Verifier | None:
        """See `Verifies.verifier`: an MD5 that is the ETag, or a checksum of parts' checksums."""
        if not self._client.settings.checksums:
            return None
        with Placed("verify", self.locate(meta.key)):
            return await reading.verifier(self._client, meta)

    def get(
        self,
        key: str,
        /,
        *,
        span: Span = WHOLE,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Coroutine[Any, Any, Blob]:
        """Read an object or a span of it."""
        if span is WHOLE:
            return reading.whole(self._client, key, into, if_match, most)
        return reading.get(Reading(self._client, "get", key, span, if_match), into, most=most)

    def start_gets(
        self,
        asked: Sequence[Asked],
        ended: Callable[[Any, Blob | None], None],
        /,
        *,
        deadline: float | None = None,
    ) -> Sequence[Started]:
        """See `StartsReads.start_gets`."""
        return starting.start(self._client, asked, ended, deadline)

    @asynccontextmanager
    async def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AsyncGenerator[S3Stream]:
        """Read an object, or a span of it, as it arrives."""
        async with AsyncExitStack() as stack:
            with Placed("open", self.locate(key)):
                asked = Reading(self._client, "open", key, span, if_match)
                stream = await reading.open_stream(stack, asked)
            yield stream

    def put(
        self,
        key: str,
        data: Buffer,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Coroutine[Any, Any, ObjectMeta]:
        """Write a whole object in one request."""
        return writing.put(
            self._client,
            self._probes,
            key,
            data,
            if_match=if_match,
            if_absent=if_absent,
            content_type=content_type,
            metadata=metadata,
        )

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
    ) -> uploads.S3Upload:
        """Begin to write an object in parts."""
        with Placed("begin_upload", self.locate(key)):
            if size is not None and size > self.limits.object_max:
                raise NotSupportedError(f"{size} bytes, of at most {self.limits.object_max}")
            headers = writing.write_headers(content_type, metadata)
            condition = await writing.condition_headers(
                self._probes, "upload", key, if_match=if_match, if_absent=if_absent
            )
            facts = await self._probes.facts()
            return await uploads.begin(
                self._client, facts, key, headers, size=size, condition=condition
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
        """Go on with an upload; the service checked each part when it came."""
        del check
        with Placed("resume_upload", self.locate(key)):
            if token:
                condition = await writing.condition_headers(
                    self._probes, "upload", key, if_match=None, if_absent=if_absent
                )
                facts = await self._probes.facts()
                found = await lasting.find(
                    self._client,
                    facts,
                    key,
                    token,
                    size=size,
                    part=part,
                    sums=sums,
                    condition=condition,
                )
                if found is not None:
                    return Resumed(*found)
        upload = await self.begin_upload(
            key, size=size, if_absent=if_absent, content_type=content_type, metadata=metadata
        )
        return Resumed(upload, frozenset())

    async def drop_uploads(self, key: str, /, *, token: str, since: float) -> None:
        """Give up an upload by its name, or those of the key that began at that time."""
        with Placed("abort", self.locate(key)):
            names = [token[2:]] if token else await lasting.nameless(self._client, key, since)
            for name in names:
                query = encode_query({"uploadId": name})
                try:
                    await self._client.call(Ask("abort", "DELETE", key, query))
                except NotFoundError:
                    continue  # it had ended already

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """Copy an object at the service."""
        copying = Copying(
            self._client,
            self._probes,
            self.limits,
            source,
            target,
            if_match=if_match,
            if_absent=if_absent,
        )
        with Placed("copy", self.locate(target)):
            return await copying.run()

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """Delete objects; a missing one counts as deleted."""
        if not keys:
            return {}
        if len(keys) > self.limits.delete:
            raise NotSupportedError(
                f"{len(keys)} keys in one call, of at most {self.limits.delete}",
                op="delete",
                url=self._client.locate(None),
            )
        with Placed("delete", self._client.locate(None)):
            return await deleting.delete(self._client, await self._probes.facts(), keys)

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
        """List keys that begin with `prefix`."""
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(limit)}
        if prefix:
            query["prefix"] = prefix
        if cursor is not None:
            query["continuation-token"] = cursor
        elif after is not None:
            query["start-after"] = after
        if delimiter:
            query["delimiter"] = "/"
        ask = Ask("list", "GET", None, encode_query(query), limit=wire.BODY_MAX)
        with Placed("list", self._client.locate(None)):
            reply = await self._client.call(ask)
            found = wire.listing(reply.body, prefix=prefix, token=cursor)
        if isinstance(found, wire.Fault):
            raise self._client.failed(ask, reply, found)
        return Page(found.objects, found.prefixes, found.token)

    async def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT", "HEAD", "DELETE"] = "GET",
        expires: float = 900.0,
        content_type: str | None = None,
    ) -> str:
        """Return a URL for one method on a key; it is a secret."""
        where = "presign", self.locate(key)
        if not (math.isfinite(expires) and 1 <= expires <= EXPIRES_MAX):
            raise ConfigurationError(f"expires={expires}: between 1 second and 7 days").at(*where)
        with Placed(*where):
            endpoint = await self._client.endpoint()
            now = self._client.now()
            end = endpoint.creds.expires_at
            if end is not None and now + expires > end:
                raise ConfigurationError(
                    f"expires={expires:g}: the credentials {endpoint.creds.identity} end in "
                    f"{max(0, end - now):.0f} s, and the URL would with them"
                )
            headers = {"content-type": content_type} if content_type is not None else {}
            return endpoint.presign(method, key, headers, now=now, expires=int(expires))

    async def diagnose(self) -> Mapping[str, Any]:
        """Return what would be used, and what the service is known to support."""
        facts: dict[str, Any] = {"bucket": self._client.bucket}
        endpoint = await self._client.endpoint()
        end = endpoint.creds.expires_at
        facts |= {
            "identity": endpoint.creds.identity,
            "source": endpoint.creds.source,
            "expires_at": None if end is None else datetime.fromtimestamp(end, UTC).isoformat(),
            "endpoint": endpoint.url,
        }
        ask = Ask("diagnose", "GET", None, "list-type=2&max-keys=0", limit=wire.BODY_MAX)
        try:
            reply = await self._client.call(ask)
            ahead = clock_offset(reply.headers)
            # The header has whole seconds: on average half a one has passed since.
            facts["clock_drift"] = None if ahead is None else round(-ahead - 0.5, 1)
            listing: bool | str = True
        except StoreError as error:
            listing = str(error)
        known = await self._probes.facts()
        facts["region"] = (await self._client.endpoint()).region
        facts["capabilities"] = {
            "list": listing,
            **{name: known.honours.get(name, "not tried") for name in CONDITIONS},
            "crc64nvme": "not tried" if known.crc is None else known.crc,
        }
        return facts

    async def try_writes(self, prefix: str, /) -> None:
        """See `TriesWrites.try_writes`."""
        for condition in CONDITIONS:
            await self._probes.honours(condition, prefix)

    async def aclose(self) -> None:
        """Close connections; twice is as once."""
        await self._client.aclose()
