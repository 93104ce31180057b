"""People who use a hub: signed in, and what they are told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from asyncstore.hub.settings import PasswordCost
from asyncstore.testing.canary import CANARY_PASSWORD, guard

if TYPE_CHECKING:
    import aiohttp

CHEAP = PasswordCost(memory=64, passes=1)
"""So that a test is not the time that its passwords take."""

PASSWORD = CANARY_PASSWORD


@dataclass
class Told:
    """An answer."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Person:
    """Somebody with a token, or nobody."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None = None):
        self.session = session
        self.url = url
        self.token = token
        self.token_id = ""
        self.name = ""

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        async with self.session.request(
            method, f"{self.url}{path}", data=data, headers=headers, allow_redirects=False
        ) as reply:
            text = await reply.text()
            found = json.loads(text) if text and reply.content_type.endswith("json") else text
            return Told(reply.status, found, {k.lower(): v for k, v in reply.headers.items()})

    async def get(self, path: str) -> Told:
        return await self.ask("GET", path)

    async def post(self, path: str, **body: object) -> Told:
        return await self.ask("POST", path, body)

    async def put(self, path: str, **body: object) -> Told:
        return await self.ask("PUT", path, body)

    async def delete(self, path: str) -> Told:
        return await self.ask("DELETE", path)

    async def creds(self, tag: str, mode: str | None = None) -> Told:
        organization, name = tag.split("/")
        query = f"?mode={mode}" if mode else ""
        told = await self.get(f"/api/org/{organization}/ds/{name}/creds{query}")
        if told.status == 200:
            guard(told.body["creds"]["aws_secret_access_key"])
            guard(told.body["creds"]["aws_session_token"])
        return told

    async def create(self, tag: str, *, public: bool = False) -> None:
        told = await self.post("/api/dataset/create", tag=tag, public=public, meta={})
        assert told.status == 200, told

    async def login(self, name: str, password: str = PASSWORD) -> Self:
        told = await self.post("/api/v1/login", username=name, password=password)
        assert told.status == 200, told
        self.token, self.token_id, self.name = told.body["token"], told.body["id"], name
        guard(told.body["token"])
        return self

    def with_token(self, token: str | None) -> Person:
        return Person(self.session, self.url, token)

    async def make_token(self, **asked: object) -> tuple[Person, str]:
        told = await self.post("/api/v1/tokens", **{"name": "t", "expires_in": 3600} | asked)
        assert told.status == 201, told
        other = self.with_token(guard(told.body["token"]))
        other.name, other.token_id = self.name, told.body["id"]
        return other, told.body["id"]


class Town:
    """A hub's URL, and a way to be somebody there."""

    def __init__(self, session: aiohttp.ClientSession, url: str):
        self.nobody = Person(session, url)

    async def first(self, code: str | None, name: str = "root") -> Person:
        assert code is not None
        guard(code)
        told = await self.nobody.post(
            "/api/v1/bootstrap", code=code, username=name, email="a@b.example", password=PASSWORD
        )
        assert told.status == 201, told
        return await self.person(name, register=False)

    async def person(self, name: str, *, register: bool = True) -> Person:
        if register:
            told = await self.nobody.post(
                "/api/v1/users", username=name, email=f"{name}@b.example", password=PASSWORD
            )
            assert told.status == 201, told
        return await self.nobody.with_token(None).login(name)
