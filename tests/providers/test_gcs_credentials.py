"""The Google credential matrix: each form is the identity it says, or an error; never another.

The storage server accepts only tokens that the identity services have issued, so a write that
succeeds shows which identity was used. `docs/reference/credentials-gcs.md` names these tests.
"""

import asyncio
import json
import tempfile
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from blockbuster import blockbuster_ctx

from asyncstore.errors import (
    ConfigurationError,
    DeadlineError,
    IntegrityError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.http import DEADLINE
from asyncstore.providers.gcs import GCSProvider
from asyncstore.testing.canary import CANARY_PASSWORD, CANARY_SECRET, CANARY_TOKEN, guard, shows
from asyncstore.testing.google_standins import (
    ACCOUNT,
    MACHINE,
    SUBJECT,
    TARGET,
    GoogleStandIns,
    private_key_pem,
)
from asyncstore.testing.small_http import Reply
from asyncstore.testing.strict_gcs import StrictGCS
from asyncstore.types import Settings

pytestmark = pytest.mark.asyncio

GCLOUD = ".config/gcloud/application_default_credentials.json"
NO_METADATA = {"GCE_METADATA_HOST": "127.0.0.1:9"}


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


class World:
    """A storage server, the identity services it trusts, and their time."""

    def __init__(self, storage, google, clock, home):
        self.storage, self.google, self.clock = storage, google, clock
        self.home = home
        self.bucket = storage.make_bucket()

    @asynccontextmanager
    async def provider(self, creds=None, **environ):
        environ = {"HOME": str(self.home), **NO_METADATA, **environ}
        settings = Settings(creds=creds, endpoint_url=self.storage.url)
        provider = GCSProvider(self.bucket, settings, environ=environ)
        provider._session.exchange.clock = self.clock
        try:
            yield provider
        finally:
            await provider.aclose()

    async def identity(self, creds=None, **environ):
        """Write and read with the credentials; return whose token the storage server saw."""
        async with self.provider(creds, **environ) as provider:
            await provider.put("key", b"data")
            assert bytes(await provider.get("key")) == b"data"
        return self.google.identity_of(self.bearer())

    def bearer(self):
        return self.storage.calls[-1].headers["authorization"].removeprefix("Bearer ")

    async def refusal(self, creds=None, **environ):
        """Return the error that the credentials are, having talked to nobody."""
        calls = len(self.google.calls)
        stored = len(self.storage.calls)
        with pytest.raises(ConfigurationError) as caught:
            async with self.provider(creds, GCE_METADATA_HOST=self.google.host, **environ) as p:
                await p.head("key")
        assert len(self.google.calls) == calls, "asked somebody for a token"
        assert len(self.storage.calls) == stored, "asked the storage server"
        return str(caught.value)

    def file(self, document, name="key.json"):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)


@pytest.fixture
def world(tmp_path):
    clock = Clock()
    with StrictGCS() as storage, GoogleStandIns() as google:
        google.clock = clock
        google.on_issue = lambda token: storage.tokens.__setitem__(token, "rw")
        yield World(storage, google, clock, tmp_path)


# What each form is.


async def test_a_service_account_file_is_that_account(world):
    assert await world.identity(world.file(world.google.service_account())) == ACCOUNT
    assert [issued.scope for issued in world.google.issued] == [
        "https://www.googleapis.com/auth/devstorage.read_write"
    ]


async def test_a_service_account_dict_is_that_account(world):
    assert await world.identity(world.google.service_account()) == ACCOUNT


async def test_a_path_object_is_as_its_text(world):
    world.file(world.google.service_account())
    assert await world.identity(world.home / "key.json") == ACCOUNT


async def test_a_private_key_touches_no_temporary_file(world, monkeypatch):
    guard(private_key_pem().splitlines()[5])

    def refuse(*_, **__):
        pytest.fail("a temporary file was made")

    for name in ("mkstemp", "NamedTemporaryFile", "TemporaryFile", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert await world.identity(world.google.service_account()) == ACCOUNT
    assert list(world.home.iterdir()) == []


async def test_an_authorized_user_file_is_that_user(world):
    assert await world.identity(world.file(world.google.authorized_user())) == "user"


async def test_an_authorized_user_dict_is_that_user(world):
    assert await world.identity(world.google.authorized_user()) == "user"


async def test_a_workforce_login_authenticates_its_client_in_a_header(world):
    document = world.google.authorized_user()
    document["type"] = "external_account_authorized_user"
    document["token_url"] = document.pop("token_uri")
    world.google.fail("reply", "/token", Reply(400, b'{"error": "invalid_grant"}'))
    async with world.provider(document) as provider:
        with pytest.raises(UnauthenticatedError, match="invalid_grant"):
            await provider.head("key")
    assert world.google.calls[-1].headers["authorization"].startswith("Basic ")
    assert CANARY_SECRET.encode() not in world.google.calls[-1].body


async def test_an_impersonated_service_account_is_its_target(world):
    assert await world.identity(world.google.impersonated()) == TARGET
    assert [issued.identity for issued in world.google.issued] == ["user", TARGET]


async def test_an_impersonation_by_a_service_account_is_its_target(world):
    document = world.google.impersonated()
    document["source_credentials"] = world.google.service_account()
    assert await world.identity(world.file(document)) == TARGET
    assert world.google.issued[0].scope == "https://www.googleapis.com/auth/cloud-platform"


async def test_a_workload_identity_from_a_text_file(world):
    source = {"file": world.file(f"{SUBJECT}\n", "token")}
    assert await world.identity(world.google.external(source)) == "workload"


async def test_a_workload_identity_from_a_json_file(world):
    path = world.file({"inner": SUBJECT}, "token.json")
    source = {"file": path, "format": {"type": "json", "subject_token_field_name": "inner"}}
    assert await world.identity(world.google.external(source)) == "workload"


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_workload_identity_from_an_address(world, form):
    source = {
        "url": f"{world.google.url}/subject?as={form}",
        "headers": {"X-Flavor": "test"},
        "format": {"type": form, "subject_token_field_name": "value"},
    }
    assert await world.identity(world.google.external(source)) == "workload"


def amazon(world):
    base = f"{world.google.url}/latest/meta-data"
    return {
        "environment_id": "aws1",
        "region_url": f"{base}/placement/availability-zone",
        "url": f"{base}/iam/security-credentials",
        "imdsv2_session_token_url": f"{world.google.url}/latest/api/token",
        "regional_cred_verification_url": (
            "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
        ),
    }


async def test_a_workload_identity_from_an_aws_machine(world):
    assert await world.identity(world.google.external(amazon(world))) == "workload"


async def test_a_workload_identity_from_aws_variables(world):
    identity = await world.identity(
        world.google.external(amazon(world)),
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
        AWS_SECRET_ACCESS_KEY=CANARY_SECRET,
        AWS_SESSION_TOKEN=CANARY_TOKEN,
    )
    assert identity == "workload"
    assert world.google.count("/latest/") == 0


async def test_a_workload_identity_that_impersonates_is_its_target(world):
    document = world.google.external({"file": world.file(SUBJECT, "token")})
    document["service_account_impersonation_url"] = world.google.impersonation_url
    document["service_account_impersonation"] = {"token_lifetime_seconds": 1200}
    assert await world.identity(world.file(document)) == TARGET
    assert json.loads(world.google.calls[-1].body)["lifetime"] == "1200s"


async def test_nothing_given_is_first_the_variable(world):
    world.file(
        world.google.authorized_user(), ".config/gcloud/application_default_credentials.json"
    )
    path = world.file(world.google.service_account())
    for creds in (None, "google_default"):
        identity = await world.identity(creds, GOOGLE_APPLICATION_CREDENTIALS=path)
        assert identity == ACCOUNT


async def test_nothing_given_is_then_what_gcloud_left(world):
    world.file(
        world.google.authorized_user(), ".config/gcloud/application_default_credentials.json"
    )
    assert await world.identity(GCE_METADATA_HOST=world.google.host) == "user"


async def test_gclouds_folder_may_be_elsewhere(world):
    world.file(world.google.authorized_user(), "else/application_default_credentials.json")
    assert await world.identity(CLOUDSDK_CONFIG=str(world.home / "else")) == "user"


async def test_nothing_given_is_last_the_machines_account(world):
    for creds in (None, "google_default"):
        assert await world.identity(creds, GCE_METADATA_HOST=world.google.host) == MACHINE


async def test_anon_sends_no_token(world):
    world.bucket = world.storage.make_bucket(public=True)
    world.storage.store(world.bucket, "key", b"public")
    path = world.file(world.google.service_account())
    async with world.provider("anon", GOOGLE_APPLICATION_CREDENTIALS=path) as provider:
        assert bytes(await provider.get("key")) == b"public"
    assert "authorization" not in world.storage.calls[-1].headers
    assert world.google.calls == []


async def test_a_token_of_ones_own_is_sent_as_it_is(world):
    world.storage.tokens[CANARY_TOKEN] = "rw"
    async with world.provider({"gcs_oauth_token": CANARY_TOKEN}) as provider:
        await provider.put("key", b"data")
    assert world.bearer() == CANARY_TOKEN
    assert world.google.calls == []


async def test_project_id_pays_where_requesters_pay(world):
    world.bucket = world.storage.make_bucket(requester_pays=True)
    world.storage.tokens[CANARY_TOKEN] = "rw"
    creds = {"gcs_oauth_token": CANARY_TOKEN}
    async with world.provider(creds) as provider:
        with pytest.raises(ConfigurationError, match="project_id"):
            await provider.put("key", b"data")
    async with world.provider(creds | {"project_id": "payer"}) as provider:
        await provider.put("key", b"data")
        assert bytes(await provider.get("key")) == b"data"
        upload = await provider.begin_upload("parts")
        await upload.put_part(1, b"data")
        await upload.complete()
        assert not await provider.delete(["key"])


@dataclass
class Token:
    token: str
    expires_at: float


@dataclass
class OfGoogleAuth:
    token: str
    expiry: datetime  # in UTC, without saying so


@pytest.mark.parametrize("kind", ["text", "dict", "object", "google-auth", "async"])
async def test_a_callable_is_asked_for_its_token(world, kind):
    world.storage.tokens[CANARY_TOKEN] = "rw"
    end = world.clock.now + 3600
    naive = datetime.fromtimestamp(end, UTC).replace(tzinfo=None)

    async def later():
        return {"token": CANARY_TOKEN, "expires_at": end}

    callables = {
        "text": lambda: CANARY_TOKEN,
        "dict": lambda: {"access_token": CANARY_TOKEN, "expires_at": "2999-01-01T00:00:00Z"},
        "object": lambda: Token(CANARY_TOKEN, end),
        "google-auth": lambda: OfGoogleAuth(CANARY_TOKEN, naive),
        "async": later,
    }
    async with world.provider(callables[kind]) as provider:
        await provider.put("key", b"data")
    assert world.bearer() == CANARY_TOKEN


async def test_a_callable_that_blocks_keeps_nobody_else_waiting(world):
    world.storage.tokens[CANARY_TOKEN] = "rw"
    here, there = threading.get_ident(), []

    def slow():
        there.append(threading.get_ident())
        return CANARY_TOKEN

    async with world.provider(slow) as provider:
        await provider.put("key", b"data")
    assert here not in there


async def test_a_callable_that_fails_tells_no_secret(world):
    def broken():
        raise ValueError(f"no luck with {CANARY_SECRET}")

    for wrong, text in (
        (broken, "raised ValueError"),
        (lambda: None, "returned no token"),
        (lambda: {"token": CANARY_TOKEN, "expires_at": "soon"}, "expires_at"),
    ):
        async with world.provider(wrong) as provider:
            with pytest.raises(ConfigurationError, match=text):
                await provider.head("key")


async def test_an_emulator_needs_no_credentials(world):
    world.bucket = world.storage.make_bucket(public=True)
    world.storage.store(world.bucket, "key", b"public")
    for host in (world.storage.url, world.storage.url.removeprefix("http://")):
        environ = {"STORAGE_EMULATOR_HOST": host, "GCE_METADATA_HOST": world.google.host}
        provider = GCSProvider(world.bucket, Settings(), environ=environ)
        assert bytes(await provider.get("key")) == b"public"
        await provider.aclose()
    assert world.google.calls == []


async def test_an_emulator_is_sent_credentials_that_are_given(world):
    environ = {"STORAGE_EMULATOR_HOST": world.storage.url}
    settings = Settings(creds=world.google.service_account())
    provider = GCSProvider(world.bucket, settings, environ=environ)
    await provider.put("key", b"data")
    await provider.aclose()
    assert world.google.identity_of(world.bearer()) == ACCOUNT


async def test_credentials_do_not_travel_in_clear(world):
    settings = Settings(creds=world.google.service_account())
    for change in ({"endpoint_url": "http://storage.example"}, {}):
        environ = {"STORAGE_EMULATOR_HOST": "storage.example:80"}
        with pytest.raises(ConfigurationError, match="in clear"):
            GCSProvider(world.bucket, settings.replace(**change), environ=environ)
    GCSProvider(world.bucket, Settings(), environ={"STORAGE_EMULATOR_HOST": "storage.example"})


async def test_doctor_is_told_which_credentials_are_used_and_from_where(world):
    key = world.file(world.google.service_account())
    world.file(world.google.authorized_user(), "else/application_default_credentials.json")
    host = world.google.host
    for creds, environ, identity, source in (
        (key, {}, ACCOUNT, "key.json"),
        (world.google.impersonated(), {}, TARGET, "creds="),
        (None, {"GOOGLE_APPLICATION_CREDENTIALS": key}, ACCOUNT, "GOOGLE_APPLICATION_CREDENTIALS"),
        (None, {"CLOUDSDK_CONFIG": str(world.home / "else")}, "an authorised user", "gcloud"),
        (None, {"GCE_METADATA_HOST": host}, MACHINE, f"metadata server at {host}"),
    ):
        async with world.provider(creds, **environ) as provider:
            facts = await provider.diagnose()
        assert facts["identity"] == identity
        assert source in facts["source"]
        assert facts["expires_at"] is not None
        assert abs(facts["clock_drift"]) < 60


async def test_no_form_blocks_the_event_loop(world):
    key = world.file(world.google.service_account())
    subject = world.file(SUBJECT, "token")
    world.file(world.google.authorized_user(), "else/application_default_credentials.json")
    with blockbuster_ctx("asyncstore"):
        for creds, environ in (
            (key, {}),
            (world.google.impersonated(), {}),
            (world.google.external({"file": subject}), {}),
            (None, {"GOOGLE_APPLICATION_CREDENTIALS": key}),
            (None, {"CLOUDSDK_CONFIG": str(world.home / "else")}),
            (None, {"GCE_METADATA_HOST": world.google.host}),
        ):
            await world.identity(creds, **environ)


# What is wrong is an error, and nobody else's identity.


@pytest.mark.parametrize(
    "creds",
    ["Anon", "google-default", "no/such/file.json", "brwoser", "", CANARY_TOKEN, 7, b"x", ["x"]],
)
async def test_anything_else_is_refused_with_the_forms_that_are_known(world, creds):
    text = await world.refusal(creds)
    assert "'browser', 'cache', 'google_default', 'anon'" in text


async def test_json_text_in_place_of_a_path_is_refused_unseen(world):
    text = json.dumps(world.google.authorized_user())
    await world.refusal(text)
    async with world.provider(text) as provider:
        assert shows(provider._session.source) is None


async def test_half_a_file_is_refused(world):
    whole = json.dumps(world.google.service_account())
    for text in ("", "{", whole[: len(whole) // 2], "[]", "null", "\x00\xff"):
        path = world.file(text)
        assert "no JSON object" in await world.refusal(path)
        await world.refusal(GOOGLE_APPLICATION_CREDENTIALS=path)
        world.file(text, GCLOUD)
        await world.refusal("google_default")
        await world.refusal()


async def test_a_missing_file_of_the_variable_is_refused(world):
    text = await world.refusal(GOOGLE_APPLICATION_CREDENTIALS=str(world.home / "no.json"))
    assert "GOOGLE_APPLICATION_CREDENTIALS" in text
    assert "does not exist" in text


async def test_a_misspelt_key_is_refused_with_the_right_one(world):
    document = world.google.service_account()
    document["Client_Email"] = document.pop("client_email")
    assert "write 'client_email'" in await world.refusal(document)
    assert "write 'gcs_oauth_token'" in await world.refusal({"GCS_OAUTH_TOKEN": CANARY_TOKEN})
    assert "aws_access_key_id" in await world.refusal({"aws_access_key_id": "x"})
    wrong = {"gcs_oauth_token": CANARY_TOKEN, "projectid": "x"}
    assert "write 'project_id'" in await world.refusal(wrong)
    await world.refusal({})


@pytest.mark.parametrize("lost", ["client_email", "private_key", "type"])
async def test_a_missing_field_is_named(world, lost):
    document = world.google.service_account()
    del document[lost]
    assert lost in await world.refusal(document)
    assert lost in await world.refusal(world.file(document))


async def test_a_new_field_in_googles_own_file_is_no_error(world):
    document = world.google.service_account() | {"something_new": 1}
    assert await world.identity(world.file(document)) == ACCOUNT


async def test_a_wrong_field_is_named_and_not_shown(world):
    good = world.google.service_account()
    for change, text in (
        ({"private_key": CANARY_SECRET}, "RSA"),
        ({"private_key": 5}, "private_key"),
        ({"token_uri": "http://oauth.example/token"}, "https"),
        ({"token_uri": "ftp://x"}, "token_uri"),
        ({"token_uri": "https://user:pw@oauth.example/token"}, "token_uri"),
        ({"universe_domain": "else.example"}, "universe_domain"),
        ({"type": "magic"}, "type is one of"),
    ):
        assert text in await world.refusal(good | change)


async def test_a_wrong_workload_identity_is_refused(world):
    make = world.google.external
    aws = amazon(world)
    for source, text in (
        ({"executable": {"command": "/bin/true"}}, "executable"),
        ({"format": {}}, "none of"),
        ({"file": 5}, "file"),
        ({"file": str(world.home / "no")}, "cannot be read"),
        ({"url": "http://inside.example/token"}, "neither https"),
        ({"url": f"{world.google.url}/x", "headers": {"a": "b\r\nc: d"}}, "headers"),
        ({"file": "x", "format": {"type": "xml"}}, "format"),
        (aws | {"environment_id": "aws2"}, "aws1"),
        (aws | {"url": "http://inside.example/"}, "neither https"),
        (aws | {"regional_cred_verification_url": "http://sts.{region}.example/"}, "https"),
    ):
        assert text in await world.refusal(make(source))
    document = make({"file": "x"}) | {"token_url": "http://sts.example/"}
    assert "token_url" in await world.refusal(document)
    document = make({"file": "x"}) | {"service_account_impersonation_url": "https://x.example/y"}
    assert "generateAccessToken" in await world.refusal(document)


async def test_no_google_machine_says_what_to_do(world):
    async with world.provider() as provider:
        with pytest.raises(ConfigurationError, match="gcloud auth application-default login"):
            await provider.head("key")


async def test_a_stranger_at_the_metadata_address_is_not_believed(world):
    def strange(reply):
        del reply.headers["metadata-flavor"]
        return reply

    world.google.fail("edit", "/computeMetadata/", strange, times=9)
    async with world.provider(GCE_METADATA_HOST=world.google.host) as provider:
        with pytest.raises(IntegrityError, match="not Google's"):
            await provider.head("key")
    assert world.storage.calls == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(400, b'{"error": "invalid_grant"}'), UnauthenticatedError),
        (Reply(401, CANARY_SECRET.encode()), UnauthenticatedError),
        (Reply(403, b'{"error": {"status": "PERMISSION_DENIED"}}'), PermissionDeniedError),
        (Reply(302, b"", {"location": "http://127.0.0.1:9/"}), ConfigurationError),
        (Reply(429, b"", {"retry-after": "7"}), ThrottledError),
        (Reply(503, b"<html>"), UnavailableError),
        (Reply(200, b""), IntegrityError),
        (Reply(200, b"<html>hello"), IntegrityError),
        (Reply(200, b'{"access_token": ""}'), IntegrityError),
        (Reply(200, b'{"access_token": "a\\r\\nb", "expires_in": 9}'), IntegrityError),
        (Reply(200, json.dumps({"access_token": CANARY_TOKEN}).encode()), IntegrityError),
        (
            Reply(200, json.dumps({"access_token": CANARY_TOKEN, "expires_in": -5}).encode()),
            IntegrityError,
        ),
        (Reply(200, b'{"access_token": "' + b"x" * 100_000 + b'"}'), IntegrityError),
    ],
)
async def test_a_refused_or_broken_sign_in_is_an_error(world, reply, error):
    world.google.fail("reply", "/token", reply)
    async with world.provider(world.google.service_account()) as provider:
        with pytest.raises(error) as caught:
            await provider.get("key")
    assert type(caught.value) is error
    assert world.storage.calls == []


async def test_a_revoked_login_says_so(world):
    world.google.refresh_tokens.clear()
    async with world.provider(world.google.authorized_user()) as provider:
        with pytest.raises(UnauthenticatedError, match="revoked"):
            await provider.get("key")


# Renewal.


async def test_tokens_are_renewed_before_they_end_in_the_middle_of_work(world):
    async with world.provider(world.google.service_account()) as provider:
        upload = await provider.begin_upload("key")
        for number in range(1, 6):
            await upload.put_part(number, b"x" * 300_000)
            world.clock.now += 3600 - 299  # inside the margin, and never past the end
        await upload.complete()
        assert len(await provider.get("key")) == 1_500_000
    assert len(world.google.issued) == 6
    assert world.storage.count(".") == sum(
        call.headers["authorization"] != "" for call in world.storage.calls
    )


async def test_a_refused_token_is_renewed_once_and_the_call_repeated(world):
    async with world.provider(world.google.service_account()) as provider:
        await provider.put("key", b"data")
        world.storage.tokens.clear()  # revoked before its end
        assert bytes(await provider.get("key")) == b"data"
        async with provider.open("key") as stream:
            assert b"".join([bytes(view) async for view in stream]) == b"data"
    assert len(world.google.issued) == 2


async def test_refused_for_ever_is_one_renewal_and_then_the_error(world):
    world.google.on_issue = lambda _: None
    async with world.provider(world.google.service_account()) as provider:
        with pytest.raises(UnauthenticatedError) as caught:
            await provider.get("key")
    assert caught.value.status == 401
    assert len(world.storage.calls) == 2
    assert len(world.google.issued) == 2


async def test_a_token_of_ones_own_that_is_refused_is_not_sent_again(world):
    async with world.provider({"gcs_oauth_token": CANARY_TOKEN}) as provider:
        with pytest.raises(UnauthenticatedError):
            await provider.put("key", b"data")
    assert len(world.storage.calls) == 1


async def test_a_token_of_ones_own_that_has_ended_is_not_sent(world):
    creds = {"gcs_oauth_token": CANARY_TOKEN, "expires_at": world.clock.now - 1}
    async with world.provider(creds) as provider:
        with pytest.raises(UnauthenticatedError, match="ended"):
            await provider.put("key", b"data")
    assert world.storage.calls == []


async def test_ten_thousand_tasks_fetch_one_token(world):
    world.google.delay = 0.2
    async with world.provider(world.google.service_account()) as provider:
        session = provider._session
        tokens = await asyncio.gather(*(session.token() for _ in range(10_000)))
        assert len(set(map(id, tokens))) == 1
        world.clock.now += 3600
        await asyncio.gather(*(session.token() for _ in range(10_000)))
    assert len(world.google.issued) == 2


async def test_a_cancelled_waiter_cancels_nobody_else(world):
    world.google.delay = 0.3
    async with world.provider(world.google.service_account()) as provider:
        tasks = [asyncio.create_task(provider._session.token()) for _ in range(10)]
        await asyncio.sleep(0.05)
        for task in tasks[:5]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in done[:5])
    assert len({id(result) for result in done[5:]}) == 1
    assert len(world.google.issued) == 1


async def test_a_waiters_deadline_is_its_own(world):
    world.google.delay = 0.4
    async with world.provider(world.google.service_account()) as provider:

        async def hurried():
            DEADLINE.set(time.monotonic() + 0.1)
            await provider._session.token()

        first = asyncio.create_task(hurried())
        await asyncio.sleep(0)
        second = asyncio.create_task(provider._session.token())
        with pytest.raises(DeadlineError):
            await first
        assert (await second).identity == ACCOUNT
    assert len(world.google.issued) == 1


async def test_while_a_renewal_fails_the_old_token_goes_on(world):
    async with world.provider(world.google.service_account()) as provider:
        await provider.put("key", b"data")
        world.google.fail("reply", "/token", Reply(503), times=99)
        world.clock.now += 3600 - 100
        for _ in range(3):
            assert bytes(await provider.get("key")) == b"data"
        assert world.google.count("/token") == 2, "a failed renewal waits a little"
        world.clock.now += 101
        with pytest.raises(UnavailableError):
            await provider.get("key")
        world.google._faults.clear()
        assert bytes(await provider.get("key")) == b"data"


async def test_a_file_that_is_replaced_is_read_again_at_the_renewal(world):
    path = world.file(world.google.service_account())
    async with world.provider(path) as provider:
        await provider.put("key", b"data")
        world.file(world.google.authorized_user())
        world.clock.now += 3600
        await provider.get("key")
    assert [issued.identity for issued in world.google.issued] == [ACCOUNT, "user"]


@pytest.mark.parametrize("how", ["emptied", "removed"])
@pytest.mark.parametrize("by", ["creds", "variable", "gcloud"])
async def test_a_file_that_breaks_in_mid_run_becomes_no_other_identity(world, how, by):
    name = "key.json" if by != "gcloud" else "application_default_credentials.json"
    path = world.file(world.google.service_account(), name)
    environ = {"GCE_METADATA_HOST": world.google.host}
    if by == "variable":
        environ["GOOGLE_APPLICATION_CREDENTIALS"] = path
    if by == "gcloud":
        environ["CLOUDSDK_CONFIG"] = str(world.home)
    async with world.provider(path if by == "creds" else None, **environ) as provider:
        await provider.put("key", b"data")
        if how == "emptied":
            world.file("", name)
        else:
            (world.home / name).unlink()
        world.clock.now += 3600 - 100
        assert bytes(await provider.get("key")) == b"data"
        world.clock.now += 101
        with pytest.raises(ConfigurationError):
            await provider.get("key")
    assert {issued.identity for issued in world.google.issued} == {ACCOUNT}


async def test_a_short_lived_token_is_renewed_a_quarter_before_its_end(world):
    world.google.lifetime = 60
    async with world.provider(GCE_METADATA_HOST=world.google.host) as provider:
        await provider.put("key", b"data")
        world.clock.now += 44
        await provider.get("key")
        assert len(world.google.issued) == 1
        world.clock.now += 2
        await provider.get("key")
    assert len(world.google.issued) == 2


# Secrets.


async def test_no_form_shows_its_secrets(world):
    guard(private_key_pem().splitlines()[5])
    forms = [
        world.google.service_account(),
        world.google.authorized_user(),
        world.google.impersonated(),
        {"gcs_oauth_token": CANARY_TOKEN},
        world.google.client(),
    ]
    for creds in forms:
        async with world.provider(creds) as provider:
            assert shows(provider._session.source) is None
            if creds.get("type") != "browser" and "gcs_oauth_token" not in creds:
                assert shows(await provider._session.token()) is None


async def test_a_reply_that_repeats_the_token_does_not_put_it_into_the_error(world):
    async with world.provider({"gcs_oauth_token": CANARY_TOKEN}) as provider:
        with pytest.raises(UnauthenticatedError, match=r"Invalid Credentials: \*\*\*"):
            await provider.get("key")


async def test_forbidden_is_not_absent(world):
    world.storage.tokens[CANARY_PASSWORD] = "r"
    async with world.provider({"gcs_oauth_token": CANARY_PASSWORD}) as provider:
        with pytest.raises(PermissionDeniedError):
            await provider.put("key", b"data")
        failed = await provider.delete(["key"])
        assert isinstance(failed["key"], PermissionDeniedError)
    async with world.provider("anon") as provider:
        with pytest.raises(StoreError) as caught:
            await provider.get("key")
    assert type(caught.value) is UnauthenticatedError
