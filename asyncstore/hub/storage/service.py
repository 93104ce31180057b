"""`Storage`: the folder, opened; requests verified, kept inside their grant, and handed on."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError
from asyncstore.hub.storage import finished, multipart, writing
from asyncstore.hub.storage.committing import Committer
from asyncstore.hub.storage.faults import Refused, denied
from asyncstore.hub.storage.files import Files, flush_folder
from asyncstore.hub.storage.grants import Keyring
from asyncstore.hub.storage.index import Finder, Index, after_prefix, connect, is_used, prepare
from asyncstore.hub.storage.request import Gone, Pace, Reply, Request
from asyncstore.hub.storage.routes import READS, REGION, Routes
from asyncstore.hub.storage.verifying import Verifier
from asyncstore.providers.local import threads
from asyncstore.wire.sigv4 import Signer, encode_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncstore.hub.storage.grants import Grant
    from asyncstore.hub.storage.request import Receive, Scope, Send

UPLOAD_LIFE = 7 * 24 * 3600.0
"""Seconds after which an upload that was never joined is removed, when the storage is opened."""
_BATCH = 500
_log = logging.getLogger(__name__)


class Storage:
    """Objects in a folder, served through the S3 protocol to whoever holds a grant; an ASGI app.

    Args:
        folder: where everything is kept; made by `open`. One process has it at a time.
        key: the server's own secret, of at least 32 random bytes: whoever has it can make grants.
        allowed: asked before each request, with its grant, whether it still holds; `None`: always.
        clock: epoch seconds.
        pace: how slow a client may be.

    Raises:
        ConfigurationError: the key is too short.
    """

    def __init__(
        self,
        folder: str,
        key: bytes,
        *,
        allowed: Callable[[Grant], Awaitable[bool]] | None = None,
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self._folder = os.path.abspath(folder)
        self._keys = Keyring(key)
        self._allowed = allowed
        self._clock = clock
        self._pace = pace or Pace()
        self._files = Files(os.path.join(self._folder, "data"))
        self._index = Index(os.path.join(self._folder, "index.sqlite3"), self._files)
        self._committer: Committer | None = None
        self._finder: Finder | None = None
        self._routes: Routes | None = None
        self._lock = -1
        self._verifier = Verifier(self._keys, clock)

    def __repr__(self) -> str:
        return f"Storage({self._folder!r})"

    # Its life.

    async def open(self) -> None:
        """Open the folder, and remove what a killed process left in it; twice is as once.

        Raises:
            ConfigurationError: another process has it.
            OSError: it cannot be made or read.
        """
        if self._committer is None:
            db = await threads.run(self._prepare, dispose=lambda db: db.close())
            self._committer = Committer(db, self._files.forget)
            self._finder = Finder(self._index)
            self._routes = Routes(self._index, self._files, self._finder, self._committer)
            before = int((self._clock() - UPLOAD_LIFE) * 1000)
            while await self._committer.run(lambda c: multipart.remove_old(c, before, _BATCH)):
                pass
            known = int((self._clock() - finished.LIFE) * 1000)
            await self._committer.run(lambda c: finished.forget_old(c, known))

    def _prepare(self) -> sqlite3.Connection:
        os.makedirs(self._files.folder, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(self._folder, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise ConfigurationError(
                f"{self._folder} is served by another process; one has it at a time"
            ) from None
        try:
            db = connect(self._index.path)
            prepare(db)
            self._files.prepare(lambda name: is_used(db, name))
            flush_folder(self._folder)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return db

    async def aclose(self) -> None:
        """Finish what is being written, and let go of the folder; twice is as once."""
        committer, self._committer = self._committer, None
        finder, self._finder = self._finder, None
        if committer is not None and finder is not None:
            await committer.aclose()
            await finder.aclose()
            await threads.run(self._close)

    def _close(self) -> None:
        self._files.close()
        self._index.close()
        lock, self._lock = self._lock, -1
        os.close(lock)

    @property
    def _changes(self) -> Committer:
        if self._committer is None:
            raise RuntimeError("the storage is not open")
        return self._committer

    # What the hub asks.

    def mint(self, grant: Grant) -> dict[str, str]:
        """Return credentials for a grant: what an S3 client takes, and `expiration`.

        Raises:
            ConfigurationError: the grant is none.
        """
        return self._keys.mint(grant)

    def presign(
        self, grant: Grant, key: str, expires: float, *, host: str, method: str = "GET"
    ) -> str:
        """Return path and query of a URL that works without credentials; it is a secret.

        Args:
            grant: what it may do.
            key: the object's.
            expires: how long it holds, in seconds; no longer than the grant.
            host: the `Host` header that it will be asked with, such as `"hub.test:8443"`.
            method: the only one that it is for.

        Raises:
            ConfigurationError: the grant is none or does not cover the key or the method, or
                `expires` is not between 1 second and 7 days.
        """
        if not grant.covers(grant.bucket, key) or (method not in READS and grant.mode != "w"):
            raise ConfigurationError(f"{method} {key!r} is outside the grant")
        now = self._clock()
        made = self.mint(grant)
        signer = Signer(
            made["aws_access_key_id"],
            made["aws_secret_access_key"],
            made["aws_session_token"],
            region=REGION,
        )
        path = encode_path(f"/{grant.bucket}/{key}")
        seconds = int(min(expires, grant.expires - now))
        return f"{path}?{signer.presign(method, host, path, now=now, expires=seconds)}"

    async def delete_prefix(self, bucket: str, prefix: str) -> int:
        """Delete all objects and uploads below a prefix; return how many objects there were."""
        first, end = prefix.encode(), after_prefix(prefix.encode())
        count = 0
        while some := await self._changes.run(
            lambda change: writing.delete_some(change, bucket, first, end, _BATCH)
        ):
            count += some
        while await self._changes.run(
            lambda change: multipart.remove_uploads(change, bucket, first, end, _BATCH)
        ):
            pass
        await self._changes.run(lambda c: finished.forget_keys(c, bucket, first, end))
        return count

    async def size_of(self, bucket: str, prefix: str) -> int:
        """Return how many bytes the objects below a prefix have together."""
        return await threads.run(lambda: self._index.size_of(bucket, prefix.encode()))

    # What clients ask.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; ASGI. The lifespan opens and closes the storage."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(Request(scope, receive, send, self._pace))

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.open()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, request: Request) -> None:
        try:
            try:
                reply = await self._answer(request)
            except Refused as refusal:
                await request.refuse(refusal)
            except (OSError, sqlite3.Error) as error:
                _log.exception("%s %s [%s]", request.method, request.path, request.id)
                full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
                full = full or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
                await request.refuse(
                    Refused("ServiceUnavailable", "The storage is full")
                    if full
                    else Refused("InternalError", "We encountered an internal error.")
                )
            else:
                await request.answer(reply)
        except Gone:
            return

    async def _answer(self, request: Request) -> Reply:
        request.parse()
        claim, key = self._verifier.verify(request)
        if self._allowed is not None and not await self._allowed(request.grant):
            raise denied()
        if self._routes is None:
            raise RuntimeError("the storage is not open")
        return await self._routes.answer(request, claim, key)
