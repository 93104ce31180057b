"""A hub that is down, slow or not to be believed, and work that goes on or ends as it must."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import pytest_asyncio

from asyncstore import registry
from asyncstore.credentials import Refreshing
from asyncstore.errors import (
    ConfigurationError,
    DatasetError,
    IntegrityError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    TransientError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.http import DEADLINE
from asyncstore.provider import Presigns, ability
from asyncstore.providers.hub import HubProvider
from asyncstore.store import open_store
from asyncstore.store._live import Recipe
from asyncstore.store._open import store_of
from asyncstore.testing.canary import CANARY_SECRET, CANARY_TOKEN, shows
from asyncstore.testing.fake_hub import FakeHub
from asyncstore.testing.small_http import Reply, SmallServer
from asyncstore.transfer.large import resumes
from asyncstore.types import Settings
from asyncstore.url import StoreURL

pytestmark = pytest.mark.asyncio

SET = StoreURL.parse("hub://org/set")
_bucket: list[str] = []


@pytest.fixture
def storage(seaweedfs):
    """A bucket, and a place in it that no other test has."""
    if not _bucket:
        _bucket.append(seaweedfs.make_bucket())
    return f"s3://{_bucket[0]}/{time.monotonic_ns()}"


@pytest.fixture
def hub(storage, seaweedfs):
    with FakeHub(storage, lambda: seaweedfs.creds) as hub:
        hub.tokens[CANARY_TOKEN] = "ann"
        yield hub


def connected(hub, **settings):
    settings = {"hub_url": hub.url, "token": CANARY_TOKEN} | settings
    return registry.connector("hub")(SET, Settings(**settings))


@pytest_asyncio.fixture
async def provider(hub):
    provider = connected(hub)
    yield provider
    await provider.aclose()


@pytest.fixture
def later(hub, monkeypatch):
    """Let seconds pass for whatever looks at what ends; the hub's tell ends from then on."""
    passed = [0.0]
    clock = lambda: time.time() + passed[0]  # noqa: E731
    monkeypatch.setitem(Refreshing.__init__.__kwdefaults__, "clock", clock)

    def later(seconds):
        passed[0] += seconds
        hub.lifetime += seconds

    return later


def said(status, **document):
    return Reply(status, json.dumps(document).encode())


def grants(hub, *, creds=None, **changes):
    """Let the hub's grants be others than it means."""

    def edit(reply):
        told = json.loads(reply.body) | changes
        told["creds"] |= creds or {}
        return Reply(reply.status, json.dumps(told).encode(), reply.headers)

    return hub.fail("edit", "/creds", edit, times=100)


# Refusals and nonsense.


@pytest.mark.parametrize(
    ("reply", "kind", "match"),
    [
        (said(401, description="gone"), UnauthenticatedError, "gone.*asyncstore login"),
        (said(403, description="not yours"), PermissionDeniedError, "not yours"),
        (said(403, code=1, agreements=[{"text": "x"}]), PermissionDeniedError, "hub agree"),
        (said(403, code=2), UnauthenticatedError, "terms"),
        (Reply(403, b"<html>"), PermissionDeniedError, "403"),
        (said(404, description="no such data set"), NotFoundError, "no such data set"),
        (Reply(404, b"<html>not here</html>"), ConfigurationError, "no hub"),
        (said(400, description="bad"), ConfigurationError, "bad"),
        (said(422, description="bad"), ConfigurationError, "bad"),
        (said(423, description="locked"), DatasetError, "locked"),
        (said(429, description="slow"), ThrottledError, "slow"),
        (Reply(502, b"<html>"), UnavailableError, "502"),
        (said(504, description="late"), UnavailableError, "late"),
        (said(418), StoreError, "418"),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
async def test_a_refusal_is_told_as_what_it_is(hub, provider, reply, kind, match):
    hub.fail("reply", "/creds", reply)
    with pytest.raises(kind, match=match) as caught:
        await provider.get("set/k")
    assert caught.value.op == "get"
    assert caught.value.url == "hub://org/set/k"
    assert caught.value.status == reply.status
    await provider.put("set/k", b"")  # the hub is well again


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"path": "s3://bucket/x"}',
        b'{"path": 1, "mode": "r", "creds": {}}',
        b'{"path": "", "mode": "r", "creds": {}}',
        b'{"path": "s3://bucket/x", "mode": "x", "creds": {}}',
        b'{"path": "s3://bucket/x", "mode": "r", "creds": []}',
        b'{"path": "s3://bucket/x", "mode": "r", "creds": "ENV"}',
        b'{"path": "s3://B!/x", "mode": "r", "creds": {}}',
        b'{"path": "s3://bucket/../x", "mode": "r", "creds": {}}',
        b'{"path": "mem://x", "mode": "r", "creds": {}}',
        b'{"path": "hub://org/other", "mode": "r", "creds": {}}',
    ],
    ids=range(15),
)
async def test_what_is_no_grant_is_refused(hub, provider, body):
    if body == b'{"path": "s3://bucket/x", "mode": "r", "creds": []}':
        body = b'{"path": "s3://bucket/x", "mode": "r", "creds": [1]}'
    hub.fail("reply", "/creds", Reply(200, body))
    with pytest.raises(IntegrityError):
        await provider.get("set/k")


@pytest.mark.parametrize(
    "changes",
    [
        {"aws_secret_access_key": None},
        {"aws_access_key_id": 5},
        {"expiration": None},
        {"expiration": "soon"},
        {"expiration": True},
        {"expiration": "nan"},
        {"expiration": "1e400"},
        {"expiration": 0},
        {"profile_name": "mine", "aws_access_key_id": None},
    ],
    ids=str,
)
async def test_credentials_that_are_none_are_refused(hub, provider, changes):
    grants(hub, creds=changes)
    with pytest.raises(IntegrityError):
        await provider.get("set/k")


async def test_no_identity_of_this_machine_stands_in_for_a_hubs(hub, monkeypatch, seaweedfs):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweedfs.url)
    grants(hub, creds={"aws_access_key_id": "AKIAWRONGWRONGWRONG"})
    provider = connected(hub)
    with pytest.raises(UnauthenticatedError):
        await provider.get("set/k")
    await provider.aclose()


async def test_an_address_of_the_environment_is_not_where_a_hub_leads(hub, provider, monkeypatch):
    with SmallServer(lambda _: Reply(500)) as elsewhere:
        monkeypatch.setenv("AWS_ENDPOINT_URL", elsewhere.url)
        await provider.put("set/k", b"x")
        assert elsewhere.calls == []


# Where a hub may not lead.


@pytest.mark.parametrize(
    ("endpoint", "match"),
    [
        ("http://169.254.169.254", "plain HTTP"),
        ("https://169.254.169.254", "no storage"),
        ("https://[fd00:ec2::254]", "no storage"),
        ("https://metadata.google.internal", "no storage"),
        ("https://0.0.0.0", "no storage"),
        ("http://storage.example.org", "allow_http=True"),
    ],
)
async def test_a_hub_leads_to_no_address_where_secrets_would_be_lost(
    hub, provider, endpoint, match
):
    grants(hub, creds={"endpoint_url": endpoint})
    with pytest.raises(ConfigurationError, match=match):
        await provider.get("set/k")


@pytest.mark.parametrize("endpoint", ["file:///etc", "s3://x", "https://me:it@host", "https://a/b"])
async def test_an_address_that_is_none_is_refused(hub, provider, endpoint):
    grants(hub, creds={"endpoint_url": endpoint})
    with pytest.raises(IntegrityError, match="endpoint_url"):
        await provider.get("set/k")


async def test_a_hub_elsewhere_does_not_lead_to_this_machine():
    from asyncstore.providers.hub import granting
    from asyncstore.providers.hub.client import Told
    from asyncstore.providers.hub.login import Hub
    from asyncstore.wire.hub import Granted

    far, near = Hub("https://hub.example.org"), Hub("http://127.0.0.1:7777")
    pair = {"aws_access_key_id": "AKIA", "aws_secret_access_key": CANARY_SECRET}
    creds = pair | {"endpoint_url": "http://127.0.0.1:9"}
    told = Told(Granted("s3://bucket/x", "r", creds, 10.0, None), None)
    with pytest.raises(ConfigurationError, match="this machine"):
        granting.read(told, far, Settings(), now=0.0)
    granting.read(told, near, Settings(), now=0.0)
    granting.read(told, far, Settings(endpoint_url="http://127.0.0.1:9"), now=0.0)

    from_afar, from_here = (granting.permits(hub, Settings()) for hub in (far, near))
    assert from_afar is not None
    assert from_here is not None
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert not from_afar(address)
        assert from_here(address)
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0", "fd00:ec2::254"):
        assert not from_here(address)
    assert from_afar("10.0.0.5")
    assert granting.permits(far, Settings(endpoint_url="http://127.0.0.1:9")) is None


async def test_a_name_that_means_a_forbidden_address_is_not_connected_to(hub, monkeypatch):
    import socket

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443))]

    async def getaddrinfo(*_, **__):
        return found

    grants(hub, creds={"endpoint_url": "https://innocent.example.org"})
    provider = connected(hub)
    await provider.granted()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    with pytest.raises(ConfigurationError, match="not permitted"):
        await provider.get("set/k")
    await provider.aclose()


async def test_a_path_on_this_machines_disk_is_used_below_a_folder_of_the_users(
    hub, tmp_path, monkeypatch
):
    hub.creds = dict
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    allowed.mkdir()
    other.mkdir()
    (allowed / "link").symlink_to(other)
    hub.places["org/set"] = str(allowed / "set")
    for variable in (None, "relative", str(other)):
        if variable is not None:
            monkeypatch.setenv("ASYNCSTORE_HUB_FOLDER", variable)
        provider = connected(hub)
        with pytest.raises(ConfigurationError, match="ASYNCSTORE_HUB_FOLDER"):
            await provider.put("set/k", b"x")
        await provider.aclose()
    monkeypatch.setenv("ASYNCSTORE_HUB_FOLDER", str(allowed))
    for path in (str(other / "x"), str(allowed / "link/x"), f"{allowed}/../other/x", "allowed/x"):
        hub.places["org/set"] = path
        provider = connected(hub)
        with pytest.raises(ConfigurationError, match="ASYNCSTORE_HUB_FOLDER"):
            await provider.put("set/k", b"x")
        await provider.aclose()
    hub.places["org/set"] = str(allowed / "set")
    provider = connected(hub)
    meta = await provider.put("set/a/k", b"x")
    assert meta.key == "set/a/k"
    assert (allowed / "set/a/k").read_bytes() == b"x"
    assert [meta.key for meta in (await provider.list_page("set/")).objects] == ["set/a/k"]
    assert provider.limits.engine
    assert not provider.limits.metadata
    await provider.aclose()
    assert list(other.iterdir()) == []


async def test_azure_is_not_served(hub, provider):
    grants(hub, path="az://account/container/x")
    with pytest.raises(NotSupportedError, match="Azure"):
        await provider.get("set/k")


async def test_a_redirect_is_not_followed(hub, provider):
    with SmallServer(lambda _: Reply(200, b"{}")) as elsewhere:
        hub.fail("reply", "/creds", Reply(302, b"", {"location": elsewhere.url}))
        with pytest.raises(ConfigurationError, match="redirects are not followed"):
            await provider.get("set/k")
        assert elsewhere.calls == []


async def test_a_token_goes_to_no_hub_over_plain_http():
    provider = registry.connector("hub")(
        SET, Settings(hub_url="http://hub.example.org", token=CANARY_TOKEN)
    )
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        await provider.get("set/k")
    await provider.aclose()


# Silence.


async def test_work_goes_on_while_the_hub_is_down_until_its_credentials_end(hub, later, provider):
    hub.lifetime = 600.0
    await provider.put("set/k", b"x")
    hub.fail("drop", "", times=10_000)
    later(500)  # past the margin, in which it asks again
    for _ in range(12):
        assert bytes(await provider.get("set/k")) == b"x"
        later(6)
    assert hub.grants > 12
    later(60)
    with pytest.raises(UnavailableError):
        await provider.get("set/k")


async def test_new_work_with_the_hub_down_fails_within_its_deadline():
    with SmallServer(lambda _: Reply()) as gone:
        url = gone.url
    async with open_store(SET, hub_url=url, token=CANARY_TOKEN, deadline=1.0) as store:
        began = time.monotonic()
        with pytest.raises(TransientError, match="cannot connect"):
            await store.get("k")
        assert time.monotonic() - began < 2


async def test_a_hub_that_says_nothing_is_waited_for_until_the_deadline():
    over = asyncio.Event()

    async def silent(reader, writer):
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with open_store(SET, hub_url=url, token=CANARY_TOKEN, deadline=0.5) as store:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await store.get("k")
        assert time.monotonic() - began < 2
    over.set()
    server.close()


# Renewal.


async def test_credentials_are_renewed_once_for_all_who_need_them(hub, later, provider):
    hub.lifetime = 600.0
    await provider.put("set/k", b"x")
    assert hub.grants == 1
    for number in range(2, 4):
        later(500)  # into the margin
        await asyncio.gather(*(provider.get("set/k") for _ in range(200)))
        assert hub.grants == number
    assert hub.calls[0].query["no_cache"] == "False"
    assert hub.calls[1].query["no_cache"] == "True"


async def test_refused_credentials_are_asked_for_again_at_once(hub, provider, seaweedfs):
    good = seaweedfs.creds
    hub.creds = lambda: good | {"aws_access_key_id": "AKIAGONEGONEGONEGONE"}

    def heal():
        if hub.grants > 1:
            hub.creds = lambda: good

    hub.fail("before", "/creds", heal, times=100)
    await provider.put("set/k", b"x")
    assert hub.grants == 2


@pytest.mark.parametrize("ahead", [-7200.0, 7200.0])
async def test_credentials_end_by_the_hubs_clock(hub, ahead):
    hub.ahead = ahead
    hub.lifetime = 600.0
    provider = connected(hub)
    grant = await provider.granted()
    assert 590 < grant.expires_at - time.time() <= 601
    await provider.aclose()


async def test_an_end_that_is_far_away_is_looked_at_twice_a_day(hub):
    hub.lifetime = 1e9
    provider = connected(hub)
    assert (await provider.granted()).expires_at - time.time() <= 43_200
    await provider.aclose()


async def moved(hub, later, provider, path):
    """Let the next renewal lead elsewhere."""
    hub.lifetime = 600.0
    await provider.put("set/dataset_meta.json", b'{"of": "this"}')
    hub.places["org/set"] = path
    later(500)  # into the margin


async def test_a_renewal_may_lead_to_another_path_of_the_same_data(hub, later, provider, seaweedfs):
    async with open_store(f"{hub.base}/new", creds=seaweedfs.creds) as new:
        await new.put("dataset_meta.json", b'{"of": "this"}')
        await new.put("k", b"new")
        await moved(hub, later, provider, f"{hub.base}/new")
        assert bytes(await provider.get("set/k")) == b"new"
        await provider.put("set/more", b"x")
        assert bytes(await new.get("more")) == b"x"


async def test_a_renewal_that_leads_to_other_data_is_refused(hub, later, provider, seaweedfs):
    async with open_store(f"{hub.base}/other", creds=seaweedfs.creds) as other:
        await other.put("dataset_meta.json", b'{"of": "another"}')
        await moved(hub, later, provider, f"{hub.base}/other")
        await provider.put("set/k", b"mine")  # with what still holds
        later(101)  # it has ended
        with pytest.raises(IntegrityError, match="the same data set"):
            await provider.put("set/k", b"x")
        assert not await other.exists("k")


async def test_a_renewal_that_leads_to_another_bucket_is_refused(hub, later, provider, seaweedfs):
    bucket = seaweedfs.make_bucket()
    async with open_store(f"s3://{bucket}/set", creds=seaweedfs.creds) as other:
        await other.put("dataset_meta.json", b'{"of": "this"}')
        await moved(hub, later, provider, f"s3://{bucket}/set")
        later(101)  # it has ended
        with pytest.raises(IntegrityError, match="the same data set"):
            await provider.put("set/k", b"x")
        assert not await other.exists("k")


async def test_a_renewal_may_lead_to_another_address(hub, later, provider, seaweedfs):
    hub.lifetime = 600.0
    await provider.put("set/k", b"x")
    other = seaweedfs.url.replace("127.0.0.1", "localhost")
    hub.creds = lambda: seaweedfs.creds | {"endpoint_url": other}
    later(500)  # into the margin
    assert bytes(await provider.get("set/k")) == b"x"
    assert (await provider.diagnose())["endpoint"] == other


async def test_a_right_that_ends_is_noticed_with_the_next_renewal(hub, later, provider):
    hub.lifetime = 600.0
    await provider.put("set/k", b"x")
    hub.mode = "r"
    later(500)  # into the margin
    with pytest.raises(PermissionDeniedError, match="read here"):
        await provider.put("set/k", b"y")
    assert bytes(await provider.get("set/k")) == b"x"


# Whose requests they are.


async def test_credentials_of_the_users_own_go_before_the_hubs(hub, seaweedfs):
    hub.creds = lambda: {"aws_access_key_id": "AKIA", "aws_secret_access_key": CANARY_SECRET}
    provider = connected(hub, creds=seaweedfs.creds)
    await provider.put("set/k", b"x")
    await provider.aclose()
    hub.places["org/set"] = "gcs://bucket/x"
    provider = connected(hub, creds=seaweedfs.creds)
    with pytest.raises(ConfigurationError, match="S3 alone"):
        await provider.get("set/k")
    await provider.aclose()


async def test_whoever_has_no_token_asks_as_old_clients_do(hub):
    provider = connected(hub, token=None)
    with pytest.raises(UnauthenticatedError, match="nobody"):
        await provider.get("set/k")
    hub.tokens["PUBLIC_TOKEN_" + "_" * 150] = "public"
    await provider.put("set/k", b"x")
    await provider.aclose()


async def test_a_hub_that_repeats_the_token_does_not_bring_it_into_a_message(hub, provider):
    hub.fail("reply", "/creds", said(403, description=f"not with {CANARY_TOKEN}\x1b[2J"))
    with pytest.raises(PermissionDeniedError) as caught:
        await provider.get("set/k")
    assert "not with …" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert shows(caught.value) is None


async def test_nothing_that_lives_shows_what_was_lent(hub, provider):
    grant = await provider.granted()
    for value in (provider, grant, provider._grants.hub):
        assert shows(value) is None


# What is beneath.


async def test_abilities_are_those_of_the_service_beneath(hub, provider):
    assert isinstance(provider, HubProvider)
    async with open_store(SET, hub_url=hub.url, token=CANARY_TOKEN) as store:
        assert not resumes(store)
        await store.put("k", b"x")
        assert resumes(store)
    assert ability(provider, Presigns) is provider  # type: ignore[type-abstract]


async def test_a_transfer_is_gone_on_with_through_a_hub(hub, provider):
    await provider.granted()
    size, part = 12 << 20, 8 << 20
    how = {"size": size, "part": part, "check": len}
    able = provider
    with pytest.raises(NotFoundError):
        await provider.head("set/big")
    begun = await able.resume_upload("set/big", "", sums={}, **how)
    await begun.upload.put_part(1, bytes(part))
    await begun.upload.leave()
    again = await able.resume_upload("set/big", begun.upload.token, sums={1: 0}, **how)
    assert again.present == {1}
    await again.upload.put_part(2, bytes(size - part))
    meta = await again.upload.complete()
    assert (meta.key, meta.size) == ("set/big", size)


async def test_many_reads_through_a_hub_wait_in_no_task(hub, provider, monkeypatch):
    keys = [f"set/{number}" for number in range(20)]
    for key in keys:
        await provider.put(key, key.encode())
    store = store_of(Recipe(url=SET, provider=provider), SET, "")
    await asyncio.gather(*(store.get(key) for key in keys[:4]))
    monkeypatch.setattr(provider, "get", None)
    async with store.get_many(keys, width=4) as got:
        blobs = [outcome.result() async for outcome in got]
    assert {blob.meta.key: bytes(blob) for blob in blobs} == {key: key.encode() for key in keys}
    await store.aclose()


async def test_a_signed_url_is_of_the_storage(hub, provider):
    await provider.put("set/a b", b"x")
    url = await provider.presign("set/a b", expires=60)
    assert url.startswith((await provider.diagnose())["endpoint"])


async def test_the_hub_signs_reads_where_a_lent_token_cannot(hub):
    hub.places["org/set"] = "gcs://bucket/x"
    hub.creds = lambda: {"gcs_oauth_token": CANARY_SECRET}
    provider = connected(hub)
    assert await provider.presign("set/a b", expires=60) == f"{hub.url}/signed"
    (call,) = [call for call in hub.calls if "presigned" in call.path]
    assert call.query == {"chunk_path": "a b", "expiration": "60"}
    with pytest.raises(ConfigurationError, match="cannot sign"):
        await provider.presign("set/a b", method="PUT", expires=60)
    await provider.aclose()


async def test_doctor_says_who_one_is_and_where_the_data_is(hub, provider):
    facts = await provider.diagnose()
    assert facts["hub"] == hub.url
    assert facts["hub_identity"] == "this token (from token=)"
    assert facts["storage"] == f"{hub.base}/org/set"
    assert facts["mode"] == "a"
    assert facts["source"] == f"lent by the hub {hub.url}"
    assert facts["expires_at"]
    assert facts["capabilities"]["list"] is True


async def test_a_deadline_is_not_that_of_whoever_asked_first(hub, provider):
    hub.fail("before", "/creds", lambda: time.sleep(0.6))
    mark = DEADLINE.set(time.monotonic() + 0.2)
    hasty = asyncio.create_task(provider.list_page("set/"))
    DEADLINE.reset(mark)
    patient = asyncio.create_task(provider.list_page("set/"))
    with pytest.raises(TimeoutError):
        await hasty
    assert not (await patient).objects
    assert hub.grants == 1
