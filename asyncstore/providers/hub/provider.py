"""A hub's data set as a provider: the hub says where it is and lends the credentials for it.

Every call goes to the provider beneath, of S3, Google Cloud Storage or a folder, under the
storage's name for the key. The hub is asked when the first call comes, and again before what it
lent ends. While it does not answer, work goes on until then. Where it leads elsewhere, another
provider takes the next call; what is under way ends with the one that it began with.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from asyncstore.errors import (
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    StoreError,
)
from asyncstore.provider import (
    Diagnoses,
    Presigns,
    Resumed,
    ResumesUploads,
    TriesWrites,
    Verifies,
    ability,
)
from asyncstore.providers.hub import granting, starting
from asyncstore.providers.hub.beneath import Beneath, Lent
from asyncstore.providers.hub.grants import Grants
from asyncstore.providers.hub.passing import HubStream, HubUpload, Placed
from asyncstore.types import WHOLE, GiB, Limits, MiB, Page, change_meta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from asyncstore.provider import Asked, Provider, Started
    from asyncstore.providers.hub.beneath import Connect
    from asyncstore.providers.hub.client import HubClient
    from asyncstore.providers.hub.granting import Grant
    from asyncstore.types import Blob, Buffer, ObjectMeta, Settings, Span, Verifier
    from asyncstore.url import StoreURL

# What every service takes; until the hub has said which one it is.
_UNTIL_KNOWN = Limits(
    part_max=5 * GiB,
    part_min=5 * MiB,
    object_max=5 * 1024 * GiB,
    delete=100,
    parallel_parts=False,
    sorted=False,
    engine=True,
)


class HubProvider:
    """One data set of a hub.

    Args:
        url: `hub://organisation/name`; what follows the name is in the data set.
        settings: which hub, as whom, and how storage is reached; see `Settings`.
        beneath: makes the provider of another service's path.
    """

    def __init__(self, url: StoreURL, settings: Settings, beneath: Connect) -> None:
        self.organization = url.bucket
        self.dataset = url.path.partition("/")[0]
        self._settings = settings
        self._connect = beneath
        self._grants = Grants(self.organization, self.dataset, settings, self._is_same)
        self._now: Beneath | None = None
        self._before: list[Provider] = []

    def __repr__(self) -> str:
        return f"HubProvider('hub://{self.organization}/{self.dataset}')"

    @property
    def limits(self) -> Limits:
        """What the service beneath takes; what every one does, until the hub was asked."""
        now = self._now
        if now is None:
            return _UNTIL_KNOWN
        found = now.provider.limits
        return found if found.engine else replace(found, engine=True)

    def locate(self, key: str, /) -> str:
        """Return the URL of a key."""
        return f"hub://{self.organization}/{key}"

    async def client(self) -> HubClient:
        """Return what makes calls to the hub itself."""
        return await self._grants.client()

    async def granted(self) -> Grant:
        """Return what the hub hands out now."""
        return (await self._beneath()).grant

    async def head(self, key: str, /) -> ObjectMeta:
        """See `Provider.head`."""
        with Placed("head", self.locate(key)):
            at = await self._beneath()
            return at.meta(await at.provider.head(at.key(key)))

    async def verifier(self, meta: ObjectMeta, /) -> Verifier | None:
        """See `Verifies.verifier`, where the provider beneath has the ability."""
        with Placed("verify", self.locate(meta.key)):
            at = await self._beneath()
            if not isinstance(at.provider, Verifies):
                return None
            return await at.provider.verifier(meta.replace(key=at.key(meta.key)))

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
        """See `Provider.get`."""
        with Placed("get", self.locate(key)):
            at = await self._beneath()
            blob = await at.provider.get(
                at.key(key), span=span, into=into, if_match=if_match, most=most
            )
            change_meta(blob, at.meta)
            return blob

    def start_gets(
        self,
        asked: Sequence[Asked],
        ended: Callable[[Any, Blob | None], None],
        /,
        *,
        deadline: float | None = None,
    ) -> Sequence[Started]:
        """See `StartsReads.start_gets`; none can begin before it is known what is beneath."""
        at = self._known(self._grants.refreshing.current())
        return () if at is None else starting.start(at, self.locate, asked, ended, deadline)

    @asynccontextmanager
    async def open(
        self, key: str, /, *, span: Span = WHOLE, if_match: str | None = None
    ) -> AsyncGenerator[HubStream]:
        """See `Provider.open`."""
        url = self.locate(key)
        with Placed("open", url):
            at = await self._beneath()
            async with at.provider.open(at.key(key), span=span, if_match=if_match) as stream:
                yield HubStream(stream, at.meta(stream.meta), url)

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
        """See `Provider.put`."""
        with Placed("put", self.locate(key)):
            at = await self._writable()
            meta = await at.provider.put(
                at.key(key),
                data,
                if_match=if_match,
                if_absent=if_absent,
                content_type=content_type,
                metadata=metadata,
            )
            return at.meta(meta)

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
    ) -> HubUpload:
        """See `Provider.begin_upload`."""
        url = self.locate(key)
        with Placed("begin_upload", url):
            at = await self._writable()
            upload = await at.provider.begin_upload(
                at.key(key),
                size=size,
                if_match=if_match,
                if_absent=if_absent,
                content_type=content_type,
                metadata=metadata,
            )
            return HubUpload(upload, at, url)

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """See `Provider.copy`."""
        with Placed("copy", self.locate(target)):
            at = await self._writable()
            meta = await at.provider.copy(
                at.key(source), at.key(target), if_match=if_match, if_absent=if_absent
            )
            return at.meta(meta)

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """See `Provider.delete`."""
        if not keys:
            return {}
        with Placed("delete", self.locate(self.dataset)):
            at = await self._writable()
            failed = await at.provider.delete([at.key(key) for key in keys])
        told = {at.above(key): error for key, error in failed.items()}
        for key, error in told.items():
            error.url = self.locate(key)
        return told

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
        with Placed("list_page", self.locate(prefix)):
            at = await self._beneath()
            page = await at.provider.list_page(
                at.key(prefix),
                cursor=cursor,
                after=None if after is None else at.key(after),
                delimiter=delimiter,
                limit=limit,
            )
            return Page(
                at.metas(page.objects),
                [at.above(below) for below in page.prefixes],
                page.cursor,
            )

    async def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT", "HEAD", "DELETE"] = "GET",
        expires: float = 900.0,
        content_type: str | None = None,
    ) -> str:
        """See `Presigns.presign`; where the lent credentials cannot sign, the hub signs reads."""
        with Placed("presign", self.locate(key)):
            at = await self._beneath() if method in ("GET", "HEAD") else await self._writable()
            lent_token = at.grant.url.scheme == "gcs" and at.grant.lends
            if method == "GET" and lent_token:
                client = await self._grants.client()
                inside = key.removeprefix(f"{self.dataset}/")
                return await client.presigned(
                    self.organization, self.dataset, inside, expires=int(expires)
                )
            signer = ability(at.provider, Presigns)  # type: ignore[type-abstract]
            if signer is None:
                raise NotSupportedError("the service beneath makes no such URLs")
            return await signer.presign(
                at.key(key), method=method, expires=expires, content_type=content_type
            )

    async def diagnose(self) -> Mapping[str, Any]:
        """See `Diagnoses.diagnose`; also who one is at the hub, and what it hands out."""
        with Placed("diagnose", self.locate(self.dataset)):
            hub = (await self._grants.client()).hub
            facts: dict[str, Any] = {"hub": hub.url, "hub_identity": hub.identity}
            at = await self._beneath()
            facts |= {"storage": str(at.grant.url), "mode": at.grant.mode}
            teller = ability(at.provider, Diagnoses)  # type: ignore[type-abstract]
            facts |= await teller.diagnose() if teller is not None else {}
            if self._settings.creds is None:
                facts["source"] = f"lent by the hub {hub.url}"
            if at.grant.expires_at is not None:
                end = datetime.fromtimestamp(at.grant.expires_at, UTC)
                facts["expires_at"] = end.isoformat(timespec="seconds")
            return facts

    async def try_writes(self, prefix: str, /) -> None:
        """See `TriesWrites.try_writes`."""
        with Placed("diagnose", self.locate(prefix)):
            at = await self._writable()
            trier = ability(at.provider, TriesWrites)  # type: ignore[type-abstract]
            if trier is not None:
                await trier.try_writes(at.key(prefix))

    async def aclose(self) -> None:
        """Close everything, the hub's connections too; twice is as once."""
        now, self._now = self._now, None
        before, self._before = self._before, []
        for provider in (*before, *((now.provider,) if now is not None else ())):
            await provider.aclose()
        await self._grants.aclose()

    async def _beneath(self) -> Beneath:
        """Return the provider beneath and its keys, as the grant that holds says."""
        if not self.dataset:
            raise InvalidPathError("an organisation holds data sets; write hub://organisation/name")
        grant = self._grants.refreshing.current() or await self._grants.get()
        now = self._known(grant)
        if now is not None:
            return now
        if self._now is not None:
            self._before.append(self._now.provider)  # what is under way there ends there
        now = self._now = self._made(grant)
        self._pass_on(now.provider)
        return now

    def _known(self, grant: Grant | None) -> Beneath | None:
        """Return what is beneath, where it is what a grant leads to."""
        now = self._now
        if grant is None or now is None:
            return None
        if now.grant is not grant:
            if now.grant.reach != grant.reach:
                return None
            now.grant = grant
        return now

    async def _writable(self) -> Beneath:
        at = await self._beneath()
        if at.grant.mode == "r":
            raise PermissionDeniedError("the hub lets this token read here, and not write")
        return at

    def _made(self, grant: Grant, *, renewed: bool = True) -> Beneath:
        """Make the provider where a grant leads; no I/O.

        Args:
            grant: leads there.
            renewed: whether its credentials are to be replaced before they end.
        """
        own = self._settings.creds is not None
        creds = grant.creds
        if grant.lends and not own:
            creds = Lent(self._grants.refreshing, grant.reach) if renewed else grant.ending
        settings = self._settings.replace(
            creds=creds,
            token=None,
            hub_url=None,
            permit=None if own else granting.permits(self._grants.hub, self._settings),
            use_environment=own,
        )
        return Beneath(grant, self._connect(grant.url, settings), f"{self.dataset}/")

    def _pass_on(self, provider: Provider) -> None:
        """Have the abilities that the provider beneath may lack; found like any other."""
        able = isinstance(provider, ResumesUploads)
        for name in ("resume_upload", "drop_uploads"):
            if able:
                setattr(self, name, getattr(self, f"_{name}"))
            else:
                self.__dict__.pop(name, None)

    async def _resume_upload(self, key: str, token: str, /, **how: Any) -> Resumed:
        """See `ResumesUploads.resume_upload`."""
        url = self.locate(key)
        with Placed("resume_upload", url):
            at = await self._writable()
            able: Any = at.provider
            found: Resumed = await able.resume_upload(at.key(key), token, **how)
            return found._replace(upload=HubUpload(found.upload, at, url))

    async def _drop_uploads(self, key: str, /, *, token: str, since: float) -> None:
        """See `ResumesUploads.drop_uploads`."""
        with Placed("abort", self.locate(key)):
            at = await self._writable()
            able: Any = at.provider
            await able.drop_uploads(at.key(key), token=token, since=since)

    async def _is_same(self, before: Grant, after: Grant) -> bool:
        """Whether a data set that is elsewhere now is the one that was there before."""
        if (after.url.scheme, after.url.bucket) != (before.url.scheme, before.url.bucket):
            return False
        # Each with its own credentials as they are: the renewal of all others waits for this.
        old, new = (self._made(grant, renewed=False) for grant in (before, after))
        try:
            was, is_now = await old.roots(), await new.roots()
        except StoreError:
            return False
        finally:
            await old.provider.aclose()
            await new.provider.aclose()
        return was == is_now and any(part is not None for part in was)
