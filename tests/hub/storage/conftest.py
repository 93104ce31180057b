"""The storage: alone in a child process, and in this process with nothing between."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio

from asyncstore.hub.storage import Grant, Storage
from asyncstore.testing.canary import guard
from asyncstore.testing.storing import HubStorage, ask
from asyncstore.wire.sigv4 import Signer, encode_path, encode_query, payload_sha256

KEY = b"k" * 32
HOST = "hub.test"


@pytest.fixture(scope="session")
def hub_storage():
    with HubStorage() as server:
        yield server


class Clock:
    """Time that stands until it is moved."""

    def __init__(self):
        self.now = float(int(time.time()))

    def __call__(self):
        return self.now


class Client:
    """Signs as a client does, and asks the storage with no server between.

    What is to be tampered with is tampered with between `signed` and `send`.
    """

    def __init__(self, storage, clock):
        self.storage = storage
        self.clock = clock
        self.use(self.grant())

    def grant(self, **changes):
        values = {
            "bucket": "org-a",
            "prefix": "ds/",
            "mode": "w",
            "expires": self.clock.now + 3600,
            "org": "a",
            "dataset": "ds",
            "token_id": "t",
        }
        return Grant(**(values | changes))

    def use(self, grant):
        """Sign with keys for this grant from here on."""
        made = self.storage.mint(grant)
        self.access_key = made["aws_access_key_id"]
        self.secret = made["aws_secret_access_key"]
        self.token = made["aws_session_token"]

    def signed(self, method, key, query="", headers=None, *, body=b"", payload=None):
        """Return target, headers and body of a signed request to the grant's bucket."""
        signer = Signer(self.access_key, self.secret, self.token, region="us-east-1")
        path = encode_path(f"/org-a/{key}" if not key.startswith("/") else key)
        query = encode_query(parse_qsl(query, keep_blank_values=True))
        payload = payload_sha256(body) if payload is None else payload
        made = signer.sign(method, HOST, path, query, headers, now=self.clock.now, payload=payload)
        made |= {"host": HOST, "content-length": str(len(body))}
        return f"{path}?{query}" if query else path, made, [body] if body else []

    async def send(self, method, target, headers, body=(), **how):
        return await ask(self.storage, method, target, list(headers.items()), body, **how)

    async def ask(self, method, key, query="", headers=None, *, body=b"", **how):
        """Ask as a client that means well."""
        return await self.send(method, *self.signed(method, key, query, headers, body=body), **how)


@pytest.fixture
def clock():
    return Clock()


@pytest_asyncio.fixture
async def storage(tmp_path, clock):
    storage = Storage(str(tmp_path / "storage"), KEY, clock=clock)
    await storage.open()
    yield storage
    await storage.aclose()


_watched: list[tuple[str, str]] = []


@pytest.fixture
def client(storage, clock):
    client = Client(storage, clock)
    if not _watched:  # one is enough to see a leak, and the watch takes longer with each
        _watched.append((guard(client.secret), guard(client.token)))
    return client
