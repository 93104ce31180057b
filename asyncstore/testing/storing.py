"""The hub's storage as a server of its own, in a child process, for tests."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from asyncstore.testing.canary import guard
from asyncstore.testing.process import Process, answers, free_ports
from asyncstore.testing.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncstore.testing.process import Command

_KEY = "ASYNCSTORE_TEST_STORAGE_KEY"
_BUCKET = "org-tests"


class HubStorage(Server):
    """The storage alone: every grant holds, since no hub is asked.

    Its keys are made here and not there: who has the storage's key can make a grant.
    """

    def __init__(self, folder: str = "") -> None:
        self.key = os.urandom(32)
        self._place = folder
        super().__init__(Process(self._command, lambda: answers(self.url)))

    def _command(self, folder: str) -> Command:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        place = self._place or os.path.join(folder, "storage")
        arguments = (sys.executable, "-m", __name__, place, str(port))
        return arguments, {_KEY: self.key.hex()}

    def _prepare(self) -> None:
        keys = self.keys()
        self.access_key, self.secret_key = keys["access_key"], keys["secret_key"]
        self.session_token = keys["session_token"]

    def keys(
        self,
        prefix: str = "ds/",
        mode: Literal["r", "w"] = "w",
        *,
        bucket: str = _BUCKET,
        lifetime: float = 3600.0,
    ) -> dict[str, str]:
        """Return keys for a prefix, as `client` takes them; `lifetime` is in seconds."""
        from asyncstore.hub.storage import Grant  # noqa: PLC0415 - only where the extra is
        from asyncstore.hub.storage.grants import Keyring  # noqa: PLC0415

        grant = Grant(bucket, prefix, mode, time.time() + lifetime, "tests", prefix, "")
        made = Keyring(self.key).mint(grant)
        return {
            "access_key": made["aws_access_key_id"],
            "secret_key": guard(made["aws_secret_access_key"]),
            "session_token": guard(made["aws_session_token"]),
        }

    @property
    def creds(self) -> dict[str, str]:
        """What `creds=` takes."""
        return {**super().creds, "aws_session_token": self.session_token}

    def make_bucket(self, name: str | None = None, /) -> str:
        """Return the name of the bucket that `creds` are for; every bucket is there."""
        return name or _BUCKET


@dataclass
class Answer:
    """What an ASGI application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code that S3's error document has, or `""`."""
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


async def ask(
    app: Any,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: Iterable[bytes] = (),
    *,
    ends: bool = True,
) -> Answer:
    """Ask an ASGI application, with no server between: what is sent is what arrives.

    Args:
        app: it.
        method: upper case.
        target: path and query, encoded.
        headers: in order, repeated as they are.
        body: pieces, as they arrive.
        ends: whether the client stays until the body's end; otherwise it goes away then.

    Returns:
        The answer; its status is 0 where there is none.
    """
    path, _, query = target.partition("?")
    pieces = list(body)
    last = {"type": "http.request", "body": b"", "more_body": False}
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append(last if ends else {"type": "http.disconnect"})
    waiting = iter(messages)
    answer = Answer(0, {}, b"")

    async def receive() -> Any:
        return next(waiting, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {n.decode(): v.decode("latin-1") for n, v in message["headers"]}
        else:
            answer.body += bytes(message.get("body", b""))

    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers],
    }
    await app(scope, receive, send)
    return answer


def _serve(folder: str, port: int) -> None:
    import uvicorn  # noqa: PLC0415 - of an extra

    from asyncstore.hub.storage import Storage  # noqa: PLC0415

    storage = Storage(folder, bytes.fromhex(os.environ[_KEY]))
    config = uvicorn.Config(
        storage,
        host="127.0.0.1",
        port=port,
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        backlog=4096,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
