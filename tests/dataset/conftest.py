"""The old client as an oracle, installed once per machine."""

from __future__ import annotations

import pytest

from asyncstore.testing.oracle import Oracle, install


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return install()
