"""Whether an endpoint keeps to what would do harm if it did not, found by trying.

Google does. A look-alike may ignore a precondition and overwrite; so before the first
conditional call to any other endpoint, a write is tried under a condition that cannot hold, on a
name that nobody has. The right answer is 412, and nothing is written. What a liar writes is
removed again, and the ability is then a `NotSupportedError`.

A session that is asked how many bytes it holds may take that for the upload's end, and make an
object of what there is: fake-gcs-server does. So that is tried too, before an upload is gone on
with.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Literal, TypeAlias

from asyncstore.errors import NotSupportedError, PreconditionError, StoreError
from asyncstore.wire import gcs

if TYPE_CHECKING:
    from asyncstore.providers.gcs.session import Session

Kind: TypeAlias = Literal["put", "upload", "copy", "resume"]

_KINDS: tuple[Kind, ...] = ("put", "upload", "copy", "resume")
_NEVER = 1  # generations are microseconds since 1970; this one is nobody's
_NAME = ".asyncstore-probe-"
_INCOMPLETE = 308


class Conditions:
    """What is known of one bucket's endpoint.

    Args:
        session: how to ask.
        bucket: where to try.
    """

    def __init__(self, session: Session, bucket: str) -> None:
        self._session = session
        self._bucket = bucket
        self._known: dict[Kind, bool] = {}
        self._flights: dict[Kind, asyncio.Task[bool]] = {}

    @property
    def known(self) -> dict[str, bool | str]:
        """What has been found so far, or `"not tried"`; Google's own endpoint needs no finding."""
        if self._session.is_google:
            return dict.fromkeys(_KINDS, True)
        return {kind: self._known.get(kind, "not tried") for kind in _KINDS}

    async def find_all(self, prefix: str, /) -> None:
        """Find out what is not known yet, on objects below a prefix."""
        if self._session.is_google:
            return
        for kind in _KINDS:
            if kind not in self._known:
                self._known[kind] = await asyncio.shield(self._find(kind, prefix))

    async def require(self, kind: Kind, key: str, /) -> None:
        """Return if conditions of this kind are kept.

        Args:
            kind: the call.
            key: the probe's name is beside it, where the credentials surely reach.

        Raises:
            NotSupportedError: they are ignored there; nothing was written.
        """
        if not await self.keeps(kind, key):
            raise NotSupportedError(
                f"{self._session.origin} ignores conditions (if_absent, if_match) of a {kind}, "
                "and would overwrite; nothing was written"
            )

    async def keeps(self, kind: Kind, key: str, /) -> bool:
        """Return whether the endpoint keeps to this; arguments as in `require`."""
        if self._session.is_google:
            return True
        if kind not in self._known:
            self._known[kind] = await asyncio.shield(self._find(kind, key))
        return self._known[kind]

    def _find(self, kind: Kind, key: str) -> asyncio.Task[bool]:
        flight = self._flights.get(kind)
        if flight is None or flight.done():
            beside = f"{key.rpartition('/')[0]}/" if "/" in key else ""
            name = f"{beside}{_NAME}{secrets.token_hex(8)}"
            flight = asyncio.get_running_loop().create_task(self._try(kind, name))
            flight.add_done_callback(_seen)
            self._flights[kind] = flight
        return flight

    async def _try(self, kind: Kind, name: str) -> bool:
        attempt = {
            "put": self._put,
            "upload": self._upload,
            "copy": self._copy,
            "resume": self._resume,
        }[kind]
        try:
            await attempt(name)
        except PreconditionError:
            return True
        finally:
            if kind == "copy":
                await self._remove(name)
        await self._remove(f"{name}-copy" if kind == "copy" else name)
        return False

    async def _put(self, name: str, condition: int | None = _NEVER) -> None:
        resource = gcs.insert_resource(name, content_type=None, metadata=None)
        content_type, body = gcs.insert_body(resource, b"", secrets.token_hex(16))
        await self._session.send(
            "POST",
            gcs.insert_target(self._bucket, uploadType="multipart", ifGenerationMatch=condition),
            {"content-type": content_type},
            body=body,
            write=True,
        )

    async def _upload(self, name: str) -> None:
        target = gcs.insert_target(
            self._bucket, uploadType="resumable", name=name, ifGenerationMatch=_NEVER
        )
        reply = await self._session.send("POST", target, write=True)
        await self._session.send(
            "PUT",
            gcs.session_target(reply.headers, self._session.origin),
            {"content-range": "bytes */0"},
            expect=(200, 201),
            write=True,
        )

    async def _resume(self, name: str) -> None:
        reply = await self._session.send(
            "POST",
            gcs.insert_target(self._bucket, uploadType="resumable", name=name),
            write=True,
        )
        target = gcs.session_target(reply.headers, self._session.origin)
        data = bytes(gcs.QUANTUM)
        for span, body in (
            (f"bytes 0-{gcs.QUANTUM - 1}/*", data),
            (f"bytes */{2 * gcs.QUANTUM}", b""),
        ):
            reply = await self._session.send(
                "PUT",
                target,
                {"content-range": span},
                body=body,
                expect=(200, 201, 308),
                write=True,
            )
            if reply.status != _INCOMPLETE:
                return
        await self._session.send("DELETE", target, expect=(200, 204, 404, 410, 499), write=True)
        raise PreconditionError("it was told how many bytes there are")

    async def _copy(self, name: str) -> None:
        await self._put(name, None)
        both = ({"ifGenerationMatch": _NEVER}, {"ifSourceGenerationMatch": _NEVER})
        for condition in both:
            target = gcs.rewrite_target(self._bucket, name, f"{name}-copy", **condition)
            try:
                await self._session.send("POST", target, write=True)
            except PreconditionError:
                continue
            return
        raise PreconditionError("both conditions were kept")

    async def _remove(self, name: str) -> None:
        target = gcs.object_target(self._bucket, name)
        await self._session.send("DELETE", target, expect=(200, 204, 404), write=True)


def _seen(flight: asyncio.Task[bool]) -> None:
    """Look at the outcome: when every waiter was cancelled, nobody else will."""
    if not flight.cancelled() and isinstance(flight.exception(), StoreError):
        return
