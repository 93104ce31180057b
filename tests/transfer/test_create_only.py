"""Create only: it holds at the last moment, also of what an earlier run began."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from asyncstore import open_store
from asyncstore.credentials import Secret
from asyncstore.errors import AlreadyExistsError, UnavailableError
from asyncstore.layers import Retried
from asyncstore.providers.hub.client import HubClient
from asyncstore.providers.hub.login import Hub
from asyncstore.providers.local import LocalProvider
from asyncstore.providers.s3.upload import S3Upload
from asyncstore.store._transfers import transfer
from asyncstore.testing.canary import CANARY_TOKEN
from asyncstore.testing.strict_gcs import StrictGCS
from asyncstore.transfer import large, one
from asyncstore.types import MiB, Settings
from tests.transfer.conftest import fill

if TYPE_CHECKING:
    from collections.abc import Callable

PART = 5 * MiB
_MAY_REPEAT = Retried._may_repeat
_numbers = itertools.count(1)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(one, "SMALL", MiB)
    monkeypatch.setattr(large, "PART", PART)


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "from", {"big": os.urandom(2 * PART + 7)})
    return tmp_path / "from"


@dataclass
class There:
    """A target.

    Attributes:
        open: opens it.
        left: tells whether anything is left there that is under way.
    """

    open: Callable[..., Any]
    left: Callable[[], Any]


@pytest.fixture(params=["local", "s3", "google", "hub"])
def there(request, tmp_path):
    return request.getfixturevalue(f"on_{request.param}")


@pytest.fixture
def on_local(tmp_path):
    target = tmp_path / "target"
    return There(
        lambda: open_store(target),
        lambda: target.exists() and {"big"} < set(os.listdir(target)),
    )


@pytest.fixture
def on_s3(bucket):
    return There(bucket, bucket.uploads)


@pytest.fixture
def on_google():
    with StrictGCS() as server:
        server.tokens[CANARY_TOKEN] = "rw"
        how: dict[str, Any] = {
            "creds": {"gcs_oauth_token": CANARY_TOKEN},
            "endpoint_url": server.url,
        }
        path = f"gs://{server.make_bucket()}"
        yield There(lambda: open_store(path, **how), lambda: server.open_uploads)


@pytest.fixture
def on_hub(real_hub):  # not async: a hub is asked from outside any event loop
    token = real_hub.person("dora")
    name = f"create-{next(_numbers)}"

    async def register():
        async with HubClient(Hub(real_hub.url, Secret(token), "the test"), Settings()) as client:
            await client.register("dora", name, {}, public=False)

    asyncio.run(register())
    path = f"hub://dora/{name}"
    return There(lambda: open_store(path, hub_url=real_hub.url, token=token), lambda: False)


@pytest.fixture
def interrupted(monkeypatch):
    """Let the source fail for a passing reason in the last part, until told otherwise."""
    get = LocalProvider.get
    down = [True]

    async def failing(self, key, /, **how):
        if down[0] and "span" in how and how["span"].start == 2 * PART:
            raise UnavailableError("the disk went away")
        return await get(self, key, **how)

    monkeypatch.setattr(large, "WIDTH", 1)
    monkeypatch.setattr(LocalProvider, "get", failing)
    monkeypatch.setattr(Retried, "_may_repeat", lambda *_, **__: False)
    return down


def planted(monkeypatch, there):
    """Have somebody else write the object when ours is about to be completed."""
    send = large.Large._send

    async def plant(self, *args):
        await send(self, *args)
        async with there.open() as store:
            await store.put("big", b"theirs")

    monkeypatch.setattr(large.Large, "_send", plant)


async def carried(folder, there, **how):
    async with open_store(folder) as here, there.open() as target:
        report = await transfer(here, target, "test", **how)
        return report, bytes(await target.get("big")) if await target.exists("big") else None


async def test_what_comes_to_be_there_meanwhile_is_never_replaced(folder, there, monkeypatch):
    planted(monkeypatch, there)
    report, found = await carried(folder, there, if_absent=True)
    [failure] = report.failures
    assert isinstance(failure.error, AlreadyExistsError)
    assert found == b"theirs"
    assert not there.left()


async def test_an_upload_that_is_gone_on_with_never_replaces_either(
    folder, there, interrupted, monkeypatch
):
    report, found = await carried(folder, there, if_absent=True)
    assert isinstance(report.failures[0].error, UnavailableError)
    assert found is None
    interrupted[0] = False
    planted(monkeypatch, there)
    report, found = await carried(folder, there, if_absent=True)
    [failure] = report.failures
    assert isinstance(failure.error, AlreadyExistsError)
    assert report.resumed == 1
    assert found == b"theirs"
    assert not there.left()


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
async def test_an_upload_that_is_gone_on_with_creates_what_is_not_there(
    folder, there, interrupted, first, second
):
    await carried(folder, there, if_absent=first)
    interrupted[0] = False
    report, found = await carried(folder, there, if_absent=second)
    assert (report.copied, report.failures) == (1, [])
    assert found == (folder / "big").read_bytes()
    assert not there.left()


async def test_a_completion_whose_answer_was_lost_knows_its_success_in_another_run(
    folder, on_s3, interrupted, monkeypatch
):
    await carried(folder, on_s3, if_absent=True)
    interrupted[0] = False
    monkeypatch.setattr(Retried, "_may_repeat", _MAY_REPEAT)
    complete = S3Upload.complete
    calls: list[None] = []

    async def lost(self):
        calls.append(None)
        if len(calls) > 1:
            raise AlreadyExistsError("there is an object")
        await complete(self)
        raise UnavailableError("the answer was lost", outcome="unknown")

    monkeypatch.setattr(S3Upload, "complete", lost)
    report, found = await carried(folder, on_s3, if_absent=True)
    assert (report.copied, report.resumed, report.failures) == (1, 1, [])
    assert len(calls) == 2
    assert found == (folder / "big").read_bytes()
