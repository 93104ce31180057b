"""The storage alone, in a child process, for all tests of this folder."""

from __future__ import annotations

import pytest

from asyncstore.testing.storing import HubStorage


@pytest.fixture(scope="session")
def hub_storage():
    with HubStorage() as server:
        yield server
