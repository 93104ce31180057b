"""What a hub hands out of what is stored."""

import pytest

from asyncstore.testing.canary import CANARY_SECRET
from tests.hub.people import Town

STATIC = {
    "kind": "aws",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": CANARY_SECRET,
    "allow_static": True,
}


@pytest.mark.asyncio
async def test_nobody_is_lent_a_key_pair_itself_though_the_data_set_is_public(serving, session):
    async with serving(static_credentials=True) as server:
        town = Town(session, server.url)
        root = await town.first(server.bootstrap_code)
        await root.put("/api/v1/organizations/root/credentials/ours", **STATIC)
        place = {"src_path": "s3://bucket/ds", "creds_key": "ours"}
        await root.post("/api/dataset/connect", org_id="root", ds_name="ds", **place)
        await root.put("/api/org/root/dataset/ds", public=True)
        member, nobody = [
            await person.get("/api/org/root/ds/ds/creds?mode=r") for person in (root, town.nobody)
        ]
        assert member.status == 200
        assert member.body["creds"]["aws_access_key_id"] == STATIC["access_key"]
        assert nobody.status == 403
        assert "creds" not in nobody.body
