"""gcloud-aio-storage on our engine and our credentials, for the rare calls that it knows.

The package takes any session that looks like aiohttp's and any token that has `get`. Ours has no
redirects, keeps the operation's deadline and raises the library's own errors, so that no error of
the package's, which would hold the bearer in its repr, ever comes to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from asyncstore.wire.gcs import JSON_CAP, read_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.http import Response
    from asyncstore.providers.gcs.session import Session


class _Answer:
    """What gcloud-aio reads of an aiohttp response."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = response.headers
        self._body = response.body

    async def json(self, **_: Any) -> Any:
        """Return the parsed body."""
        return read_object(self._body, "a call")

    async def text(self, **_: Any) -> str:
        """Return the body as text."""
        return bytes(self._body).decode("utf-8", "replace")

    async def read(self) -> bytes:
        """Return the body."""
        return bytes(self._body)


class _EngineSession:
    """What gcloud-aio calls of an aiohttp session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,  # timeouts of the package's own: the operation's deadline holds instead
    ) -> _Answer:
        parts = urlsplit(url)
        query = "&".join(filter(None, (parts.query, urlencode(params or {}))))
        # The session adds the bearer itself, and renews it where it is refused.
        kept = {n.lower(): v for n, v in (headers or {}).items() if n.lower() == "content-type"}
        reply = await self._session.send(
            method,
            parts.path + (f"?{query}" if query else ""),
            kept,
            body=data.encode() if isinstance(data, str) else data or b"",
            limit=JSON_CAP,
            write=method != "GET",
        )
        return _Answer(reply)

    async def get(self, url: str, **options: Any) -> _Answer:
        """GET."""
        return await self._ask("GET", url, **options)

    async def post(self, url: str, **options: Any) -> _Answer:
        """POST."""
        return await self._ask("POST", url, **options)


class _NoToken:
    """The package asks for a token; the session adds the real one."""

    async def get(self) -> str:
        """Return nothing that could leak."""
        return ""


def storage(session: Session) -> Any:
    """Return a `gcloud.aio.storage.Storage` that sends through our session."""
    from gcloud.aio.storage import Storage  # noqa: PLC0415 - half a second

    made: Any = Storage  # it takes what looks like aiohttp's session; its types do not say so
    return made(session=_EngineSession(session), token=_NoToken(), api_root=str(session.origin))


__all__ = ["storage"]
