"""Deep Lake's own client, led to a hub of ours."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from asyncstore.testing.hubs import RealHub
from asyncstore.testing.oracle import Oracle, install

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAD = """
import deeplake.client.client, deeplake.client.config
from deeplake.client.client import DeepLakeBackendClient as Client
deeplake.client.config.USE_LOCAL_HOST = True
deeplake.client.client.HUB_REST_ENDPOINT_LOCAL, token, *args = args
asked = []
_request = Client.request
def _counted(self, method, url, **rest):
    asked.append(f"{method} /{url.strip('/')}")
    return _request(self, method, url, **rest)
Client.request = _counted
"""


@dataclass
class Client:
    """Deep Lake's client, as somebody at a hub."""

    oracle: Oracle
    hub: RealHub

    def run(self, code: str, /, *args: Any, token: str | None) -> Any:
        """Run code that finds `deeplake`, `token`, `args` and what was `asked` of the hub."""
        return self.oracle.run(_LEAD + textwrap.dedent(code), self.hub.url, token, *args)


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return install()


@pytest.fixture(scope="module")
def hub() -> Iterator[RealHub]:
    with RealHub(private_endpoints=True) as hub:
        yield hub


@pytest.fixture
def client(oracle: Oracle, hub: RealHub) -> Client:
    return Client(oracle, hub)
