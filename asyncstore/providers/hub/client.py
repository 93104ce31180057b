"""A hub's calls over HTTP: once each, no redirect followed, a deadline for every one.

Secrets go to https, or to this machine. The caller's deadline holds where it comes first. Answers
are of at most 8 MiB, and an error holds the hub's `description` and nothing else of them.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from asyncstore.errors import ConfigurationError, IntegrityError
from asyncstore.http import DEADLINE, Engine, EngineOptions, Origin, Request
from asyncstore.wire import hub as wire

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from asyncstore.http import Response
    from asyncstore.providers.hub.login import Hub
    from asyncstore.types import Settings

PATIENCE = 30.0
"""Seconds that one call may take."""


class Told(NamedTuple):
    """What a hub hands out, and its clock's epoch seconds then, or `None`."""

    granted: wire.Granted
    clock: float | None


class HubClient:
    """Calls to one hub as one identity.

    Args:
        hub: where, and who asks.
        settings: the transport; see `Settings`.

    Raises:
        ConfigurationError: secrets would travel in clear.
    """

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self.hub = hub
        self._origin = Origin.parse(hub.url)
        clear = self._origin.scheme == "http" and not self._origin.is_loopback
        if clear and not settings.allow_http:
            raise ConfigurationError(
                f"{hub.url} would carry tokens and passwords over plain HTTP; use https://, or "
                "pass allow_http=True"
            )
        self._engine = Engine(EngineOptions.from_settings(settings, connections=8))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections; twice is as once."""
        await self._engine.aclose()

    async def granted(
        self, organization: str, dataset: str, *, mode: str | None, again: bool = False
    ) -> Told:
        """Ask for a data set's place and credentials.

        Args:
            organization: its organisation.
            dataset: its name.
            mode: `"r"`, `"w"`, or `None` for what there is.
            again: whether what the hub kept from last time will not do.

        Raises:
            NotFoundError: it is not there, or not to be seen.
            PermissionDeniedError: it may not be opened so.
            IntegrityError: the answer is not what it must be.
        """
        query = wire.grant_query(mode, again=again)
        target = wire.target("api", "org", organization, "ds", dataset, "creds", query=query)
        reply = await self.send("GET", target)
        return Told(wire.granted(reply.body), wire.clock(reply.headers))

    async def register(
        self,
        organization: str,
        dataset: str,
        meta: Mapping[str, Any],
        *,
        public: bool,
        repository: str | None = None,
    ) -> None:
        """Tell the hub of a data set that is about to be created; twice is as once.

        Args:
            organization: its organisation.
            dataset: its name.
            meta: its `dataset_meta.json`.
            public: whether everybody may read it.
            repository: what the hub handed out as such.
        """
        document = {
            "tag": f"{organization}/{dataset}",
            "public": public,
            "rewrite": True,
            "meta": dict(meta),
            "repository": repository or f"protected/{organization}",
        }
        await self.send("POST", wire.target("api", "dataset", "create"), document)

    async def forget(self, organization: str, dataset: str) -> None:
        """Delete a data set's entry, and what the hub itself keeps of it."""
        await self.send("DELETE", wire.target("api", "dataset", organization, dataset))

    async def rename(self, organization: str, dataset: str, name: str) -> None:
        """Give a data set another name; nothing moves in storage.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        target = wire.target("api", "org", organization, "dataset", dataset)
        await self.send("PUT", target, {"basename": name})

    async def publish(self, organization: str, dataset: str, *, public: bool) -> None:
        """Let everybody read a data set, or members only."""
        target = wire.target("api", "org", organization, "dataset", dataset)
        await self.send("PUT", target, {"public": public})

    async def terms(self, organization: str, dataset: str) -> list[str]:
        """Return what has to be agreed to before a data set opens; nothing where nothing has.

        Raises:
            NotFoundError, PermissionDeniedError, UnauthenticatedError: as in `granted`.
        """
        query = wire.grant_query("r", again=False)
        target = wire.target("api", "org", organization, "ds", dataset, "creds", query=query)
        reply = await self.answered("GET", target)
        texts = wire.agreements(reply.status, reply.body)
        if not texts:
            self.check(reply, "GET")
        return texts

    async def agree(self, organization: str, dataset: str) -> None:
        """Agree to a data set's terms, as who one is at the hub."""
        target = wire.target("api", "organization", organization, "dataset", dataset, "agree")
        await self.send("POST", target)

    async def connect(
        self, source: str, organization: str, name: str | None, creds_key: str
    ) -> str:
        """Enter a data set that is somewhere already; return its `"organisation/name"`.

        Args:
            source: where it is, such as `"s3://bucket/path"`.
            organization: which organisation it shall belong to.
            name: how it shall be called; `None` leaves that to the hub.
            creds_key: the managed credentials that reach it.
        """
        document = {
            "src_path": source,
            "org_id": organization,
            "ds_name": name,
            "creds_key": creds_key,
        }
        reply = await self.send("POST", wire.target("api", "dataset", "connect"), document)
        made = wire.fields(reply.body).get("generated_id")
        parts = made.split("/") if isinstance(made, str) else []
        if len(parts) != 2 or parts[0] != organization or not parts[1]:  # noqa: PLR2004 - org/name
            raise IntegrityError("the hub's answer does not name the data set that was connected")
        return f"{parts[0]}/{parts[1]}"

    async def names(self, organization: str) -> list[str]:
        """Return the names of an organisation's data sets that one may see, sorted."""
        query = {"organization": organization}
        reply = await self.send("GET", wire.target("api", "datasets", "all", query=query))
        rows = wire.value(reply.body)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise IntegrityError("the hub's answer is not a list of data sets")
        head = f"{organization}/"
        found = [str(row.get("_id")) for row in rows]
        return sorted(name[len(head) :] for name in found if name.startswith(head))

    async def managed(
        self, organization: str, creds_key: str
    ) -> tuple[Mapping[str, Any], float | None]:
        """Return credentials that an organisation stored under a name, and when they end.

        Raises:
            NotFoundError: it has none of that name.
        """
        query = {"query": creds_key}
        reply = await self.send(
            "GET", wire.target("api", "org", organization, "storage", "name", query=query)
        )
        now = wire.clock(reply.headers) or time.time()
        creds, end = wire.managed(reply.body, now=now)
        return creds, None if end is None else end - now + time.time()

    async def presigned(self, organization: str, dataset: str, key: str, *, expires: int) -> str:
        """Return a URL to read an object of a data set for `expires` seconds; it is a secret."""
        query = {"chunk_path": key, "expiration": str(expires)}
        target = wire.target(
            "api", "org", organization, "ds", dataset, "chunks", "url", "presigned", query=query
        )
        reply = await self.send("GET", target)
        url = wire.fields(reply.body).get("data")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise IntegrityError("the hub's answer has no URL")
        return url

    async def send(self, method: str, target: str, document: Any = None, /) -> Response:
        """Make a call, and return its answer, of a 2xx status.

        Args:
            method: upper case.
            target: encoded path and query.
            document: the JSON body, if there is to be one.

        Raises:
            StoreError: of the kind that `wire.failure` tells, or the transport's.
        """
        reply = await self.answered(method, target, document)
        self.check(reply, method)
        return reply

    async def answered(
        self, method: str, target: str, document: Any = None, /, *, key: str | None = None
    ) -> Response:
        """Make a call, and return its answer, whatever it says.

        Args:
            method: upper case.
            target: encoded path and query.
            document: the JSON body, if there is to be one.
            key: names the call, so that the hub does it once however often it comes.
        """
        token = self.hub.token
        headers = {
            "accept": "application/json",
            "authorization": f"Bearer {token.reveal() if token else wire.ANONYMOUS}",
            "hub-cli-version": wire.PROTOCOL,
            "x-activeloop-provider-type": "activeloop",
            "user-agent": "asyncstore",
        }
        if key is not None:
            headers["idempotency-key"] = key
        body = b""
        if document is not None:
            body = json.dumps(document).encode()
            headers["content-type"] = "application/json"
        request = Request(
            method,
            self._origin,
            target,
            headers,
            body=body,
            limit=wire.BODY_MAX,
            replayable=method == "GET" or key is not None,
        )
        return await self._sent(request)

    def check(self, reply: Response, method: str) -> None:
        """Raise what an answer says, unless that is success."""
        if 200 <= reply.status < 300:  # noqa: PLR2004
            return
        token = self.hub.token
        raise wire.failure(
            reply.status,
            reply.headers,
            reply.body,
            method=method,
            identity=self.hub.identity,
            secret=token.reveal() if token else "",
        )

    async def _sent(self, request: Request) -> Response:
        end = time.monotonic() + PATIENCE
        mark = DEADLINE.set(min(DEADLINE.get() or end, end))
        try:
            return await self._engine.send(request)
        finally:
            DEADLINE.reset(mark)
