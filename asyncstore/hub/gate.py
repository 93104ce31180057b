"""The door: every request comes in here, and goes on to the storage or to the API.

A body for the API is read here, whole and small: its size, its depth and the time it takes are
bounded before anything parses it. The storage reads its own bodies, which may be large.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from asyncstore.hub.app import answer
from asyncstore.hub.faults import Refusal, busy

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from asyncstore.hub.settings import Limits

_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Gate:
    """An ASGI application in front of two.

    Args:
        api: for the API.
        storage: for requests of S3 clients.
        limits: what a client may take up.
    """

    def __init__(self, api: ASGIApp, storage: ASGIApp, limits: Limits) -> None:
        self._api = api
        self._storage = storage
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        if scope["type"] != "http":
            return
        if is_for_storage(scope):
            await self._storage(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            async with asyncio.timeout(self._limits.answer_patience):
                body = await self._read(scope, receive)
                await self._api(scope, _replay(body, receive), guarded)
        except Refusal as refusal:
            await answer(refusal)(scope, receive, guarded)
        except TimeoutError:
            if not started:
                await answer(busy())(scope, receive, guarded)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        too_large = Refusal(
            413,
            "too_large",
            f"A request has {self._limits.body} bytes at most.",
            headers={"Connection": "close"},
        )
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if int(length) > self._limits.body:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_patience):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > self._limits.body:
                        raise too_large
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Refusal(
                408, "too_slow", "The request came too slowly.", headers={"Connection": "close"}
            ) from None
        if depth(bytes(body)) > self._limits.depth:
            raise Refusal(400, "too_deep", f"JSON is nested {self._limits.depth} deep at most.")
        return bytes(body)


def is_for_storage(scope: Scope) -> bool:
    """Whether a request is one of an S3 client: signed as such, or for a bucket."""
    if scope["path"].startswith("/org-") or b"X-Amz-Algorithm=" in scope["query_string"]:
        return True
    return any(
        name == b"authorization" and value.startswith(b"AWS4-HMAC-SHA256")
        for name, value in scope["headers"]
    )


def depth(body: bytes) -> int:
    """Return how deep brackets are nested in JSON; what is none has some depth too."""
    deepest = now = 0
    for bracket in _BRACKETS.finditer(_TEXTS.sub(b"", body)):
        now += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, now)
    return deepest


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
