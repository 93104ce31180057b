"""What an S3 look-alike can do, found out before anything depends on it.

Some accept a conditional write and ignore the condition: the overwrite is silent. So before the
first of a kind goes to an endpoint that is not AWS's own, the same is tried on an object of a
name that nobody has, and what was found is remembered for the process.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from asyncstore.errors import (
    AlreadyExistsError,
    NotSupportedError,
    ObjectChangedError,
    PreconditionError,
    StoreError,
    TransientError,
)
from asyncstore.providers.s3.client import Ask
from asyncstore.providers.s3.writing import send_checked
from asyncstore.wire import s3 as wire
from asyncstore.wire.sigv4 import encode_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.providers.s3.client import Client

_CLEANUP = 5.0
_OTHER = '"00000000000000000000000000000000"'

CONDITIONS = (
    "put if_absent",
    "put if_match",
    "upload if_absent",
    "upload if_match",
    "copy if_absent",
    "copy if_match",
)


class Facts:
    """What is known of one endpoint and bucket; shared by every provider of the process.

    Attributes:
        honours: condition, such as `"put if_absent"`, to whether it is kept.
        crc: whether uploads' CRC-64/NVME is understood; `None` until one was answered.
        delete_many: whether `DeleteObjects` is there.
    """

    __slots__ = ("crc", "delete_many", "honours")

    def __init__(self, *, known: bool) -> None:
        self.honours: dict[str, bool] = dict.fromkeys(CONDITIONS, True) if known else {}
        self.crc: bool | None = True if known else None
        self.delete_many = True


_facts: dict[tuple[str, str], Facts] = {}


def facts_of(url: str, bucket: str, *, is_aws: bool) -> Facts:
    """Return what is known of a bucket at an endpoint."""
    known = _facts.get((url, bucket))
    if known is None:
        known = _facts[url, bucket] = Facts(known=is_aws)
    return known


def forget() -> None:
    """Forget everything; for tests."""
    _facts.clear()


class Probes:
    """Finds out, once, what a bucket's server does with conditions.

    Args:
        client: the bucket's.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    async def facts(self) -> Facts:
        """Return what is known."""
        endpoint = await self._client.endpoint()
        return facts_of(endpoint.url, self._client.bucket, is_aws=endpoint.is_aws)

    def known(self) -> Facts | None:
        """Return what is known, where nothing has to be waited for."""
        endpoint = self._client.ready()
        if endpoint is None:
            return None
        return facts_of(endpoint.url, self._client.bucket, is_aws=endpoint.is_aws)

    async def honours(self, condition: str, beside: str) -> bool:
        """Return whether a condition is kept, trying it if that is not known.

        Args:
            condition: such as `"put if_absent"`.
            beside: a key; the trial's object lies in the same folder, which the credentials may
                be limited to, and is removed again.

        Raises:
            StoreError: the trial failed for another reason.
        """
        facts = await self.facts()
        if condition not in facts.honours:
            loop = asyncio.get_running_loop()
            if self._lock is None or self._lock[0] is not loop:
                self._lock = loop, asyncio.Lock()  # another loop may have ended while it held its
            async with self._lock[1]:
                if condition not in facts.honours:
                    facts.honours[condition] = await self._try(condition, beside)
        return facts.honours[condition]

    async def require(self, condition: str, beside: str) -> None:
        """Demand that a condition is kept.

        Raises:
            NotSupportedError: it is not; nothing was written.
        """
        if not await self.honours(condition, beside):
            endpoint = await self._client.endpoint()
            kind, _, name = condition.partition(" ")
            raise NotSupportedError(
                f"{endpoint.url} does not keep the condition of a conditional {kind} ({name}), so "
                "it would write regardless; nothing was written"
            )

    async def _try(self, condition: str, beside: str) -> bool:
        folder = beside[: beside.rfind("/") + 1]
        key = f"{folder}.asyncstore-probe-{secrets.token_hex(8)}"
        trial = _Trial(self._client, await self.facts(), key)
        tests: dict[str, Callable[[], Awaitable[bool]]] = {
            "put if_absent": trial.put_if_absent,
            "put if_match": trial.put_if_match,
            "upload if_absent": trial.upload_if_absent,
            "upload if_match": trial.upload_if_match,
            "copy if_absent": trial.copy_if_absent,
            "copy if_match": trial.copy_if_match,
        }
        try:
            await trial.make()
            return await tests[condition]()
        finally:
            await trial.clean()


class _Trial:
    """Conditional writes to an object that was made for it."""

    def __init__(self, client: Client, facts: Facts, key: str) -> None:
        self._client = client
        self._facts = facts
        self._key = key
        self._etag = ""

    async def make(self) -> None:
        # With checksums, as every write: so it is known, too, which of them are understood.
        ask = Ask("probe", "PUT", self._key)
        reply = await send_checked(self._client, self._facts, ask, b"probe")
        self._etag = reply.headers.get("etag", "")

    async def clean(self) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP):
            for key in (self._key, self._key + "-copy"):
                await self._remove(key)

    async def _remove(self, key: str) -> None:
        # No layer repeats this, and what stays would be an object of nobody's.
        for pause in (0.1, 0.4, 0):
            try:
                await self._client.call(Ask("probe", "DELETE", key))
            except TransientError:
                await anyio.sleep(pause)
            except StoreError:
                return
            else:
                return

    async def put_if_absent(self) -> bool:
        return await self._refused(
            Ask("probe", "PUT", self._key, headers={"if-none-match": "*"}, body=b"probe again")
        )

    async def put_if_match(self) -> bool:
        wrong = Ask("probe", "PUT", self._key, headers={"if-match": _OTHER}, body=b"probe again")
        if not await self._refused(wrong, "match"):
            return False
        right = Ask("probe", "PUT", self._key, headers={"if-match": self._etag}, body=b"probe")
        return not await self._refused(right, "match")

    async def upload_if_absent(self) -> bool:
        return await self._complete({"if-none-match": "*"})

    async def upload_if_match(self) -> bool:
        return await self._complete({"if-match": _OTHER})

    async def copy_if_absent(self) -> bool:
        await self._client.call(Ask("probe", "PUT", self._key + "-copy", body=b"probe"))
        return await self._copy({"if-none-match": "*"})

    async def copy_if_match(self) -> bool:
        return await self._copy({"x-amz-copy-source-if-match": _OTHER})

    async def _copy(self, headers: dict[str, str]) -> bool:
        endpoint = await self._client.endpoint()
        source = {"x-amz-copy-source": endpoint.copy_source(self._key)}
        return await self._refused(
            Ask("probe", "PUT", self._key + "-copy", headers={**source, **headers})
        )

    async def _complete(self, headers: dict[str, str]) -> bool:
        begun = await self._client.call(Ask("probe", "POST", self._key, "uploads="))
        told = wire.fields(begun.body, *wire.BEGUN)
        upload = "" if isinstance(told, wire.Fault) else told.get("UploadId", "")
        query = encode_query({"uploadId": upload})
        try:
            part = encode_query({"partNumber": "1", "uploadId": upload})
            sent = await self._client.call(Ask("probe", "PUT", self._key, part, body=b"probe"))
            body = wire.complete_request([wire.Part(1, sent.headers.get("etag", ""))])
            return await self._refused(
                Ask("probe", "POST", self._key, query, headers, body=body, replayable=False)
            )
        finally:
            with anyio.CancelScope(shield=True), suppress(StoreError):
                await self._client.call(Ask("probe", "DELETE", self._key, query))

    async def _refused(self, ask: Ask, condition: str = "absent") -> bool:
        """Return whether the condition was found unmet: it is, so only that is honest."""
        ask.condition = "match" if condition == "match" else "absent"
        try:
            reply = await self._client.call(ask)
        except (AlreadyExistsError, PreconditionError, ObjectChangedError):
            return True
        except StoreError as error:
            # Said to be unknown there, which is as honest, and as little use.
            # (A request that did not arrive whole is a 400 too, and says nothing.)
            if isinstance(error, NotSupportedError):
                return False
            if error.status in (400, 501) and not error.retryable:
                return False
            raise
        return wire.fault(reply.body).code == "PreconditionFailed"
