"""Sends one bucket's requests: finds the keys, signs, and reads refusals.

A request is sent once. It is sent once more where the refusal says that it was never looked at
and what to put right: other keys (ended ones are renewed), another region (AWS's own hosts
only), another time (this machine's clock is wrong). Each of the three happens once per call.
"""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncstore.credentials import Refreshing
from asyncstore.errors import StoreError
from asyncstore.http import Engine, EngineOptions, Request
from asyncstore.providers.s3 import faults
from asyncstore.providers.s3.credentials import check_region, is_region, source_of
from asyncstore.providers.s3.endpoint import Endpoint, is_aws_region, partition
from asyncstore.providers.s3.heads import NO_HEADERS
from asyncstore.wire import s3 as wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence

    from asyncstore.http import Reply, Response
    from asyncstore.http.connection import Connection
    from asyncstore.http.message import Body
    from asyncstore.providers.s3.credentials import S3Credentials
    from asyncstore.providers.s3.faults import Condition
    from asyncstore.providers.s3.starting import StartedGet
    from asyncstore.types import Settings

_ERROR_READ = 64 << 10
_SOON_WRONG = faults.CREDENTIALS_ENDED | {"InvalidAccessKeyId", "InvalidToken"}
# Where each of AWS's buckets was found to be; a bucket's name is its only one.
_regions: dict[tuple[str, str], str] = {}


class Ask(Request):
    """One request of a bucket; `Endpoint.sign` makes it one that can be sent.

    Attributes:
        op: the provider's method, for messages.
        key: the object, or `None` for the bucket itself.
        query: canonical, as by `sigv4.encode_query`.
        headers: without those that sign it.
        condition: what it makes that depend on.
        endpoint: where it was signed for, once it was.
    """

    __slots__ = ("condition", "endpoint", "key", "op", "query")

    endpoint: Endpoint

    # One of these is made for every request, so its base's is not called on the way.
    def __init__(
        self,
        op: str,
        method: str,
        key: str | None,
        query: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        body: Body = b"",
        into: memoryview | None = None,
        length: int | None = None,
        limit: int | None = None,
        replayable: bool = True,
        condition: Condition = None,
    ) -> None:
        self.op = op
        self.method = method
        self.key = key
        self.query = query
        self.headers = headers
        self.body = body
        self.into = into
        self.length = length
        self.limit = limit
        self.replayable = replayable
        self.condition = condition

    @property
    def write(self) -> bool:
        """Whether it changes anything."""
        return self.method not in ("GET", "HEAD")


def placed(error: StoreError, op: str, url: str) -> None:
    """Say in an error what was asked for, and of what."""
    if error.op == "probe":  # a step on the way, which nobody asked for
        error.op, error.url = op, url
    error.at(op, url)


class Placed:
    """A context that says of its errors what was asked for, and of what.

    Args:
        op: the provider's method.
        url: of the key or bucket.
    """

    __slots__ = ("_op", "_url")

    def __init__(self, op: str, url: str) -> None:
        self._op = op
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, StoreError):
            placed(error, self._op, self._url)


class Client:
    """One bucket's requests.

    Args:
        bucket: its name.
        settings: see `Settings`; `creds` is read here, strictly and without I/O.

    Attributes:
        is_aws: whether the service is known to be AWS itself.
        seen: whether the bucket is known to exist.
        tells_parts: whether it may tell the parts of an object; `False` once it refused to.

    Raises:
        ConfigurationError: `creds` or the address is of no known form.
    """

    def __init__(self, bucket: str, settings: Settings) -> None:
        self.bucket = bucket
        self.settings = settings
        self.credentials: Refreshing[S3Credentials] = Refreshing(source_of(settings))
        if settings.region is not None:
            check_region(settings.region)
        self._engine: Engine | None = None
        self._endpoint: Endpoint | None = None
        self._region: str | None = None
        self._identity = "nobody yet"
        self._clock_offset = 0.0
        self.seen = False
        self.is_aws = False
        self.tells_parts = True

    @property
    def engine(self) -> Engine:
        """The transport; made on first use, in the event loop that uses it."""
        if self._engine is None:
            # As AWS's command line does; the engine itself goes by what all services share.
            bundle = self.settings.ca_bundle or os.environ.get("AWS_CA_BUNDLE") or None
            self._engine = Engine(EngineOptions.from_settings(self.settings, ca_bundle=bundle))
        return self._engine

    def locate(self, key: str | None) -> str:
        """Return the URL of a key, or of the bucket, for messages."""
        return f"s3://{self.bucket}" if key is None else f"s3://{self.bucket}/{key}"

    def now(self) -> float:
        """Return epoch seconds by the service's clock."""
        return time.time() + self._clock_offset

    async def endpoint(self) -> Endpoint:
        """Return where requests go with the credentials that hold now.

        Raises:
            StoreError: there are none.
        """
        return self.ready() or self._made(await self.credentials.get())

    def ready(self) -> Endpoint | None:
        """Return the endpoint where nothing has to be waited for."""
        creds = self.credentials.current()
        known = self._endpoint
        if known is not None and known.creds is creds:
            return known
        return None if creds is None else self._made(creds)

    def _made(self, creds: S3Credentials) -> Endpoint:
        known = self._endpoint
        if known is not None and known.creds is creds:
            return known
        region = self._region
        if region is None and not (self.settings.endpoint_url or creds.endpoint_url):
            region = _regions.get(self._cache_key(creds))
        made = self._endpoint = Endpoint(self.bucket, creds, self.settings, region=region)
        self._identity = creds.identity
        self.is_aws = made.is_aws
        return made

    def _cache_key(self, creds: S3Credentials) -> tuple[str, str]:
        return partition(self.settings.region or creds.region or ""), self.bucket

    async def call(self, ask: Ask) -> Response:
        """Send a request and return its answer, of a 2xx status.

        Raises:
            StoreError: with `op`, `url`, `status`, `request_id` and `outcome`.
        """
        try:
            return await self.accepted(ask, await self.send(ask))
        except StoreError as error:
            placed(error, ask.op, self.locate(ask.key))
            raise

    async def accepted(self, ask: Ask, outcome: Response | StoreError) -> Response:
        """Return an answer of a 2xx status: what came, or what comes once it is put right.

        Args:
            ask: the request.
            outcome: of its first sending.
        """
        if isinstance(outcome, StoreError):
            raise outcome
        if not 200 <= outcome.status < 300:  # noqa: PLR2004
            outcome = await self._again(ask, outcome)
        self.seen = True
        return outcome

    def send(self, ask: Ask) -> Coroutine[Any, Any, Response]:
        """Send a request once; the answer is of whatever status."""
        endpoint = self.ready()
        if endpoint is None:
            return self._send_when_ready(ask)
        engine = self._engine or self.engine
        return engine.send(endpoint.sign(ask, time.time() + self._clock_offset))

    def idle(self) -> int:
        """Return how many requests could be sent now without waiting for anything."""
        endpoint = self.ready()
        if endpoint is None or self._engine is None:
            return 0
        return self._engine.idle(endpoint.origin)

    def start(
        self,
        asks: Sequence[StartedGet],
        versions: Sequence[str | None],
        deadline: float | None,
    ) -> Sequence[Connection]:
        """Send plain reads, as many as `idle` said could be; see `Engine.start`.

        Args:
            asks: the reads, each told of its answer itself.
            versions: as in `Endpoint.sign_reads`.
            deadline: as in `Engine.start`.
        """
        endpoint = self.ready()
        if endpoint is None or self._engine is None:
            return ()
        endpoint.sign_reads(asks, versions, time.time() + self._clock_offset)
        return self._engine.start(asks, asks, deadline)

    async def _send_when_ready(self, ask: Ask) -> Response:
        endpoint = await self.endpoint()
        return await self.engine.send(self._signed(endpoint, ask))

    async def _again(self, ask: Ask, reply: Response) -> Response:
        """Go on after a refusal: put right what it complains about, or raise what it says."""
        tried: set[str] = set()
        while True:
            status = reply.status
            fault = await self._fault(ask.endpoint, ask, status, reply)
            if not await self._put_right(ask.endpoint, status, reply.headers, fault, tried):
                raise self._failure(ask, status, reply.headers, fault)
            reply = await self._send_when_ready(ask)
            if 200 <= reply.status < 300:  # noqa: PLR2004
                return reply

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncGenerator[Reply]:
        """Send a request; give its answer, of a 2xx status, as it arrives. Errors as in `call`."""
        tried: set[str] = set()
        while True:
            endpoint = await self.endpoint()
            async with self.engine.stream(self._signed(endpoint, ask)) as reply:
                status, headers = reply.status, reply.headers
                if 200 <= status < 300:  # noqa: PLR2004
                    self.seen = True
                    yield reply
                    return
                fault = wire.fault(await reply.read(_ERROR_READ))
            if not await self._put_right(endpoint, status, headers, fault, tried):
                raise self._failure(ask, status, headers, fault)

    def failed(
        self, ask: Ask, reply: Response, fault: wire.Fault, status: int | None = None
    ) -> StoreError:
        """Return the error for an `<Error>` that came under a 2xx status, or in place of one."""
        status = reply.status if status is None else status
        error = self._failure(ask, status, reply.headers, fault)
        return error.at(ask.op, self.locate(ask.key))

    async def aclose(self) -> None:
        """Close connections and end a renewal under way; twice is as once."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()
        await self.credentials.aclose()

    def _signed(self, endpoint: Endpoint, ask: Ask) -> Ask:
        return endpoint.sign(ask, time.time() + self._clock_offset)

    def _failure(
        self, ask: Ask, status: int, headers: Mapping[str, str], fault: wire.Fault
    ) -> StoreError:
        return faults.failure(
            status,
            headers,
            fault,
            bucket=self.bucket,
            identity=self._identity,
            write=ask.write,
            condition=ask.condition,
        )

    async def _fault(
        self, endpoint: Endpoint, ask: Ask, status: int, reply: Response
    ) -> wire.Fault:
        """Read why; an answer to HEAD has no body to say it, so the same is asked by GET."""
        if ask.method != "HEAD":
            return wire.fault(reply.body)
        unclear = status in (400, 403) or (status == 404 and not self.seen)  # noqa: PLR2004
        if not unclear:
            return wire.Fault()
        headers = {"range": "bytes=0-0"} if ask.key is not None else {}
        query = ask.query if ask.key is not None else "list-type=2&max-keys=0"
        again = Ask(ask.op, "GET", ask.key, query, headers, limit=wire.FAULT_MAX)
        answer = await self.engine.send(self._signed(endpoint, again))
        fault = wire.fault(answer.body) if answer.status == status else wire.Fault()
        self.seen |= fault.code == "NoSuchKey"
        return fault

    async def _put_right(
        self,
        endpoint: Endpoint,
        status: int,
        headers: Mapping[str, str],
        fault: wire.Fault,
        tried: set[str],
    ) -> bool:
        """Change what the refusal complains about; return whether to send the request again."""
        code = fault.code
        if code in _SOON_WRONG and "keys" not in tried:
            tried.add("keys")
            return await self._renew(endpoint.creds)
        if code == faults.CLOCK and "clock" not in tried:
            tried.add("clock")
            offset = faults.clock_offset(headers)
            self._clock_offset = offset or 0.0
            return offset is not None
        moved = code in faults.REGION_WRONG or status in (301, 302, 307, 308) or status == 400  # noqa: PLR2004
        if moved and "region" not in tried:
            tried.add("region")
            return self._move(endpoint, headers.get("x-amz-bucket-region") or fault.region)
        return False

    async def _renew(self, used: S3Credentials) -> bool:
        self.credentials.invalidate(used)
        try:
            fresh = await self.credentials.get()
        except StoreError:
            return False  # the refusal says more
        return not fresh.is_same_key(used)

    def _move(self, endpoint: Endpoint, region: str) -> bool:
        """Take another region, if the service may say so; the host stays AWS's or the given one."""
        if not region or region == endpoint.region:
            return False
        if endpoint.is_aws:
            if not is_aws_region(region) or partition(region) != partition(endpoint.region):
                return False
            _regions[self._cache_key(endpoint.creds)] = region
        elif not is_region(region):
            return False  # another name to sign for, at the same place
        self._region = region
        self._endpoint = None
        return True
