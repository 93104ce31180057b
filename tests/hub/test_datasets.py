"""Data sets: named, renamed, published, agreed to and removed, as existing clients ask for it."""

import pytest

from tests.hub.people import Town

pytestmark = pytest.mark.asyncio

API = "/api/v1"


async def listed(person, organization=None, kind="all"):
    query = f"?organization={organization}" if organization else ""
    told = await person.get(f"/api/datasets/{kind}{query}")
    return [row["_id"] for row in told.body]


async def test_a_place_is_kept_from_the_first_question_through_every_name(town: Town):
    ada = await town.person("ada")
    asked = await ada.creds("ada/d", "w")
    assert await listed(ada) == []
    await ada.create("ada/d")
    await ada.create("ada/d")
    moved = await ada.put("/api/org/ada/dataset/d", basename="e")
    assert (moved.status, await listed(ada)) == (200, ["ada/e"])
    again = await ada.creds("ada/e")
    assert again.body["path"] == asked.body["path"]
    assert again.body["mode"] == "w"
    fresh = await ada.creds("ada/d", "w")
    assert fresh.body["path"] != asked.body["path"]


async def test_a_data_set_is_not_renamed_over_another(town: Town):
    ada = await town.person("ada")
    for name in ("d", "e"):
        await ada.create(f"ada/{name}")
    assert (await ada.put("/api/org/ada/dataset/d", basename="e")).status == 409
    for wrong in ("a/b", "", "..", "x" * 200):
        assert (await ada.put("/api/org/ada/dataset/d", basename=wrong)).status == 422
    assert (await ada.put("/api/org/ada/dataset/d")).status in (400, 422)


async def test_a_public_data_set_is_everybodys_to_read_and_nobody_elses_to_write(town: Town):
    ada, eve = await town.person("ada"), await town.person("eve")
    await ada.create("ada/d")
    for person in (town.nobody, eve):
        assert (await person.creds("ada/d")).status in (403, 404)
    assert (await ada.put("/api/org/ada/dataset/d", public=True)).status == 200
    for person in (town.nobody, eve):
        told = await person.creds("ada/d")
        assert (told.status, told.body["mode"]) == (200, "r")
        assert (await person.creds("ada/d", "w")).status == 403
        assert await listed(person, "ada", "public") == ["ada/d"]
        assert (await person.get(f"{API}/organizations/ada/datasets/d")).body["public"] is True
    assert (await ada.put("/api/org/ada/dataset/d", public=False)).status == 200
    assert (await eve.creds("ada/d")).status == 404


async def test_terms_are_agreed_to_before_anything_is_read(town: Town):
    ada, eve = await town.person("ada"), await town.person("eve")
    await ada.create("ada/d", public=True)
    terms = await ada.put(f"{API}/organizations/ada/datasets/d/agreement", text="Be kind.")
    assert terms.status == 204
    first = await eve.creds("ada/d")
    assert (first.status, first.body["code"]) == (403, 1)
    assert first.body["agreements"] == [{"text": "Be kind."}]
    nobody = await town.nobody.creds("ada/d")
    assert (nobody.status, nobody.body["code"]) == (403, 2)
    assert (await eve.post("/api/organization/ada/dataset/d/agree")).status == 200
    assert (await eve.creds("ada/d")).status == 200
    assert (await eve.post("/api/organization/ada/dataset/d/disagree")).status == 200
    assert (await eve.creds("ada/d")).status == 403


async def test_who_may_not_see_a_data_set_is_told_what_old_clients_read(town: Town):
    ada = await town.person("ada")
    await ada.create("ada/d")
    told = await town.nobody.creds("ada/d")
    assert told.status == 403
    assert "You don't have permission" in told.body["description"]


async def test_a_page_of_data_sets_leads_to_the_next(town: Town):
    ada = await town.person("ada")
    names = [f"d{n}" for n in range(5)]
    for name in names:
        await ada.create(f"ada/{name}")
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        told = await ada.get(f"{API}/organizations/ada/datasets?limit=2&cursor={cursor}")
        found += [row["name"] for row in told.body["datasets"]]
        cursor = told.body["cursor"]
    assert found == names


async def test_the_last_administrator_stays(town: Town):
    ada, bob = await town.person("ada"), await town.person("bob")
    assert (await ada.post(f"{API}/organizations", name="acme")).status == 201
    members = f"{API}/organizations/acme/members"
    assert (await ada.delete(f"{members}/ada")).status == 409
    assert (await ada.put(f"{members}/ada", role="read")).status == 409
    assert (await ada.put(f"{members}/bob", role="admin")).status == 200
    assert (await ada.delete(f"{members}/ada")).status == 204
    assert (await bob.delete(f"{API}/organizations/acme")).status == 204


async def test_a_connected_data_set_is_lent_narrowed_or_as_an_administrator_allowed(town: Town):
    from tests.hub.test_attacks import AWS

    ada = await town.person("ada")
    assert (await ada.put(f"{API}/organizations/ada/credentials/b", **AWS)).status == 200
    asked = {"org_id": "ada", "ds_name": None, "creds_key": "b"}
    wrong = await ada.post("/api/dataset/connect", src_path="gcs://bucket/d", **asked)
    told = await ada.post("/api/dataset/connect", src_path="s3://bucket/d", **asked)
    assert (wrong.status, told.status) == (400, 200)
    assert told.body == {"generated_id": "ada/d"}
    # A key pair alone cannot be narrowed, and this hub was not started to hand such out.
    assert (await ada.creds("ada/d")).status == 403
    assert (await ada.get("/api/org/ada/storage/name?query=b")).status == 403
    assert (await ada.get("/api/org/ada/storage/name?query=absent")).status == 404
    assert (await ada.delete(f"{API}/organizations/ada/credentials/b")).status == 409
