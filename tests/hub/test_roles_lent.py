"""A data set in an organisation's own bucket, lent through a role: from REST to our client."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

import asyncstore
from asyncstore.hub.minting import amazon
from tests.hub.people import Person, Town

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from asyncstore.testing.servers import MiniStack
    from tests.hub.conftest import Serving

pytestmark = pytest.mark.asyncio

LIFETIME = 3.0
PLACE = "team/d"
OUTSIDE = ["team/d2/key", "key"]


@dataclass
class Lent:
    """A data set `ada/d` in a bucket that only the hub has the keys of."""

    ada: Person
    bucket: str
    ministack: MiniStack

    async def client(self, mode: str) -> Any:
        """Return another library's client, with what the hub hands out."""
        told = await self.ada.creds("ada/d", mode)
        assert told.status == 200, told
        creds = told.body["creds"]
        assert creds["aws_access_key_id"] != self.ministack.access_key
        return closing(
            self.ministack.client(
                access_key=creds["aws_access_key_id"],
                secret_key=creds["aws_secret_access_key"],
                session_token=creds["aws_session_token"],
            )
        )

    async def open(self) -> asyncstore.Dataset:
        """Return the data set, as our client opens it."""
        return await asyncstore.load(
            "hub://ada/d", token=self.ada.token, hub_url=self.ada.url, read_only=False
        )


@pytest_asyncio.fixture
async def lent(
    serving: Serving,
    database: str | None,
    ministack: MiniStack,
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Lent]:
    monkeypatch.setattr(amazon, "SHORTEST", 1)
    bucket = ministack.make_bucket()
    with closing(ministack.client()) as client:
        for key in OUTSIDE:
            client.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    owner = {
        "aws_access_key_id": ministack.access_key,
        "aws_secret_access_key": ministack.secret_key,
        "endpoint_url": ministack.url,
        "aws_region": ministack.region,
    }
    async with await asyncstore.empty(f"s3://{bucket}/{PLACE}", creds=owner):
        pass
    stored = {
        "kind": "aws",
        "access_key": ministack.access_key,
        "secret_key": ministack.secret_key,
        "role_arn": "arn:aws:iam::000000000000:role/storage",
        "endpoint_url": ministack.url,
        "region": ministack.region,
    }
    options = {"private_endpoints": True, "credential_lifetime": LIFETIME}
    async with serving(database=database, **options) as server:
        ada = await Town(session, server.url).person("ada")
        put = await ada.put("/api/v1/organizations/ada/credentials/ours", **stored)
        assert put.status == 200, put
        connected = await ada.post(
            "/api/dataset/connect",
            src_path=f"s3://{bucket}/{PLACE}",
            org_id="ada",
            ds_name=None,
            creds_key="ours",
        )
        assert connected.body == {"generated_id": "ada/d"}, connected
        yield Lent(ada, bucket, ministack)


async def test_our_client_reads_and_writes_inside(lent: Lent):
    async with await lent.open() as ds:
        await ds.store.put("x/chunks/0", b"bytes")
        assert bytes(await ds.store.get("x/chunks/0")) == b"bytes"
    with closing(lent.ministack.client()) as owner:
        found = owner.get_object(Bucket=lent.bucket, Key=f"{PLACE}/x/chunks/0")
        assert found["Body"].read() == b"bytes"


@pytest.mark.parametrize("mode", ["r", "w"])
async def test_what_is_handed_out_opens_nothing_outside(lent: Lent, mode: str):
    with await lent.client(mode) as client:
        where = {"Bucket": lent.bucket, "Key": f"{PLACE}/dataset_meta.json"}
        assert client.get_object(**where)["Body"].read().startswith(b"{")
        for key in OUTSIDE:
            for call in (client.get_object, client.put_object, client.delete_object):
                with pytest.raises(ClientError) as caught:
                    call(Bucket=lent.bucket, Key=key)
                assert caught.value.response["Error"]["Code"] == "AccessDenied"


async def test_work_goes_on_when_what_was_lent_has_ended(lent: Lent):
    with await lent.client("r") as old:
        where = {"Bucket": lent.bucket, "Key": f"{PLACE}/dataset_meta.json"}
        async with await lent.open() as ds:
            ends = time.monotonic() + 10
            code = ""
            while code != "ExpiredToken" and time.monotonic() < ends:
                assert bytes(await ds.store.get("dataset_meta.json")).startswith(b"{")
                try:
                    old.get_object(**where)
                except ClientError as error:
                    code = error.response["Error"]["Code"]
            assert code == "ExpiredToken"
            # The store's own keys are a moment younger: they end within the next second.
            last = time.monotonic() + 1
            while time.monotonic() < last:
                await ds.store.put("later", b"bytes")
