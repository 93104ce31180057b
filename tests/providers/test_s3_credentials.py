"""Every way to say who one is on S3, against a server that checks signatures and ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
import threading
import time
import typing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from asyncstore import RetryPolicy, open_store
from asyncstore.errors import (
    AlreadyExistsError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.providers.s3 import S3Provider
from asyncstore.testing.aws_standins import (
    Container,
    Instance,
    SingleSignOn,
    identity_token,
    minted,
    process,
)
from asyncstore.testing.canary import CANARY_SECRET, CANARY_TOKEN, guard, shows
from asyncstore.testing.servers import ISSUER
from asyncstore.testing.small_http import Reply, SmallServer
from asyncstore.types import Settings

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine without any AWS configuration; its home folder."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


@pytest.fixture(scope="module")
def bucket(ministack):
    return ministack.make_bucket()


@pytest_asyncio.fixture
async def connect(ministack, bucket):
    """Make a provider on MiniStack's bucket with given `creds`; all are closed at the end."""
    made = []

    def connect(creds=None, **settings):
        settings.setdefault("endpoint_url", ministack.url)
        made.append(S3Provider(settings.pop("bucket", bucket), Settings(creds=creds, **settings)))
        return made[-1]

    yield connect
    for provider in made:
        await provider.aclose()


@pytest.fixture
def env(monkeypatch):
    def env(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return env


@pytest.fixture
def environment_keys(ministack, env):
    """A good identity in the environment, which must not be used where another is asked for."""
    env(AWS_ACCESS_KEY_ID=ministack.access_key, AWS_SECRET_ACCESS_KEY=ministack.secret_key)


@pytest.fixture
def write(machine):
    def write(name, text):
        path = machine / ".aws" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def keys_of(server, **more):
    return {
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        **more,
    }


def static_profile(server, name="default"):
    return (
        f"[{name}]\naws_access_key_id = {server.access_key}\n"
        f"aws_secret_access_key = {server.secret_key}\n"
    )


def ending(keys):
    """Return the seconds until STS surely refuses keys; it tells their end in whole seconds."""
    assert keys.expires is not None
    return max(0.0, keys.expires.timestamp() - time.time()) + 1.1


async def works(provider):
    """Write and read; return whose requests these were."""
    key = f"k-{secrets.token_hex(4)}"
    await provider.put(key, b"hello")
    assert bytes(await provider.get(key)) == b"hello"
    return (await provider.diagnose())["identity"]


async def works_until(provider, renewed):
    """Work without a pause until keys that live four seconds were renewed; never too soon."""
    began = time.monotonic()
    with anyio.fail_after(60):
        while not renewed():
            await works(provider)
    assert time.monotonic() - began > 1


# The four ways, in their order.


async def test_keys_in_a_dict_are_used(connect, ministack):
    identity = await works(connect(keys_of(ministack)))
    shown = f"{ministack.access_key[:4]}…{ministack.access_key[-4:]}"
    assert identity == f"{shown} (from creds=)"


async def test_keys_with_a_session_token_are_used(connect, ministack):
    assert "(from creds=)" in await works(connect(minted(ministack, seconds=900).creds))


def bucket_in(server, region):
    client = server.client()
    name = f"bucket-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    client.close()
    return name


async def test_a_dict_says_endpoint_and_region_itself(ministack):
    for name in ("aws_region", "region"):
        creds = keys_of(ministack, endpoint_url=ministack.url, **{name: "eu-central-1"})
        provider = S3Provider(bucket_in(ministack, "eu-central-1"), Settings(creds=creds))
        await works(provider)
        assert (await provider.diagnose())["region"] == "eu-central-1"
        await provider.aclose()


async def test_keys_in_a_dict_go_before_the_environment(connect, ministack, env):
    env(AWS_ACCESS_KEY_ID="AKIAOTHEROTHER", AWS_SECRET_ACCESS_KEY=CANARY_SECRET)
    assert "(from creds=)" in await works(connect(keys_of(ministack)))


async def test_none_values_are_as_good_as_left_out(connect, ministack):
    creds = keys_of(ministack, aws_session_token=None, endpoint_url=None, region=None)
    await works(connect(creds))


@pytest.mark.usefixtures("environment_keys")
@pytest.mark.parametrize("creds", [None, "ENV"])
async def test_the_environments_keys_are_used(connect, creds):
    assert "(from environment)" in await works(connect(creds))


async def test_a_session_token_of_the_environment_is_used(connect, ministack, env):
    keys = minted(ministack, seconds=900)
    env(
        AWS_ACCESS_KEY_ID=keys.access_key,
        AWS_SECRET_ACCESS_KEY=keys.secret_key,
        AWS_SESSION_TOKEN=keys.token,
    )
    assert "(from environment)" in await works(connect())


@pytest.mark.usefixtures("environment_keys")
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_the_environments_endpoint_is_used(connect, ministack, env, name):
    env(**{"AWS_ENDPOINT_URL": "http://127.0.0.1:9", name: ministack.url})
    provider = connect(endpoint_url=None)
    await works(provider)
    assert (await provider.diagnose())["endpoint"] == ministack.url


@pytest.mark.usefixtures("environment_keys")
async def test_the_environments_region_is_used(connect, env):
    async def region(**settings):
        return (await connect(**settings)._client.endpoint()).region

    assert await region() == "us-east-1"
    env(AWS_DEFAULT_REGION="eu-west-1")
    assert await region() == "eu-west-1"
    env(AWS_REGION="eu-west-2")
    assert await region() == "eu-west-2"
    assert await region(region="eu-west-3") == "eu-west-3"


async def test_the_default_profile_is_used(connect, ministack, write):
    write("credentials", static_profile(ministack))
    assert "(from credentials file, profile 'default')" in await works(connect())


async def test_a_profile_of_the_config_file_is_used(connect, ministack, write):
    write("config", static_profile(ministack, "profile lab"))
    assert "(from config file, profile 'lab')" in await works(connect({"profile_name": "lab"}))


async def test_the_environment_names_a_profile(connect, ministack, write, env):
    write("credentials", static_profile(ministack, "lab"))
    env(AWS_PROFILE="lab")
    assert "profile 'lab'" in await works(connect())


@pytest.mark.usefixtures("environment_keys")
async def test_a_profile_asked_for_goes_before_the_environments_keys(connect, ministack, write):
    write("credentials", static_profile(ministack, "lab"))
    assert "profile 'lab'" in await works(connect({"profile_name": "lab"}))


async def test_a_bucket_of_another_region_is_found_and_signed_for(connect, ministack):
    provider = connect(keys_of(ministack), bucket=bucket_in(ministack, "eu-south-1"))
    await works(provider)
    assert (await provider.diagnose())["region"] == "eu-south-1"


async def test_a_profile_says_endpoint_region_and_style(ministack, write):
    write(
        "config",
        static_profile(ministack, "profile lab")
        + "region = eu-north-1\nservices = here\ns3 =\n  addressing_style = path\n"
        + f"[services here]\ns3 =\n  endpoint_url = {ministack.url}\n",
    )
    bucket = bucket_in(ministack, "eu-north-1")
    provider = S3Provider(bucket, Settings(creds={"profile_name": "lab"}))
    await works(provider)
    found = await provider.diagnose()
    assert (found["endpoint"], found["region"]) == (ministack.url, "eu-north-1")
    await provider.aclose()


async def test_a_role_is_assumed_with_another_profiles_keys(connect, ministack, write, env):
    env(AWS_ENDPOINT_URL_STS=ministack.url)
    write(
        "config",
        static_profile(ministack, "profile base")
        + f"[profile lab]\nrole_arn = {ministack.role_arn}\nsource_profile = base\n",
    )
    identity = await works(connect({"profile_name": "lab"}))
    assert identity.startswith("ASIA")
    assert "(from assumed role, profile 'lab')" in identity


async def test_a_role_is_assumed_with_the_environments_keys(connect, ministack, write, env):
    env(
        AWS_ENDPOINT_URL_STS=ministack.url,
        AWS_PROFILE="lab",
        AWS_ACCESS_KEY_ID=ministack.access_key,
        AWS_SECRET_ACCESS_KEY=ministack.secret_key,
    )
    role = f"role_arn = {ministack.role_arn}\ncredential_source = Environment\n"
    write("config", f"[profile lab]\n{role}")
    assert "assumed role" in await works(connect({"profile_name": "lab"}))


async def test_a_role_that_may_not_be_assumed_is_denied(connect, ministack, write, env):
    env(AWS_ENDPOINT_URL_STS=ministack.url)
    write(
        "config",
        static_profile(ministack, "profile base")
        + f"[profile lab]\nrole_arn = {ministack.role_arn}-other\nsource_profile = base\n",
    )
    with pytest.raises(PermissionDeniedError, match="AssumeRole was refused"):
        await connect({"profile_name": "lab"}).head("k")


def assumed(keys):
    """Return what STS answers to AssumeRole."""
    named = {
        "AccessKeyId": keys["aws_access_key_id"],
        "SecretAccessKey": keys["aws_secret_access_key"],
        "SessionToken": keys["aws_session_token"],
        "Expiration": "2100-01-01T00:00:00Z",
    }
    told = "".join(f"<{name}>{value}</{name}>" for name, value in named.items())
    return Reply(
        200,
        f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{told}</Credentials>"
        "</AssumeRoleResult></AssumeRoleResponse>".encode(),
    )


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(503, "ServiceUnavailable", UnavailableError), (400, "Throttling", ThrottledError)],
)
async def test_a_busy_service_of_roles_is_asked_again_by_the_stores_one_retry_loop(  # noqa: PLR0917
    ministack, bucket, write, env, status, code, kind
):
    error = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
    replies = [Reply(status, error)]
    keys = minted(ministack, seconds=900).creds

    def answer(_):
        return replies.pop() if replies else assumed(keys)

    with SmallServer(answer) as sts:
        env(AWS_ENDPOINT_URL_STS=sts.url)
        role = f"[profile lab]\nrole_arn = {ministack.role_arn}\nsource_profile = base\n"
        write("config", static_profile(ministack, "profile base") + role)
        place = {
            "creds": {"profile_name": "lab"},
            "endpoint_url": ministack.url,
            "region": "us-east-1",
        }
        once = open_store(f"s3://{bucket}/sts", retry=RetryPolicy(attempts=1), **place)
        async with once:
            with pytest.raises(kind, match="AssumeRole was refused"):
                await once.put("k", b"x", if_absent=True)
        assert sts.count("") == 1, "the SDK tried by itself"
        replies.append(Reply(status, error))
        async with open_store(f"s3://{bucket}/sts", **place) as store:
            await store.put(f"{code}", b"x", if_absent=True)
        assert sts.count("") == 3


async def test_a_web_identity_is_exchanged(connect, ministack, machine, env):
    token = machine / "token"
    token.write_text(identity_token(ISSUER))
    env(
        AWS_ENDPOINT_URL_STS=ministack.url,
        AWS_ROLE_ARN=ministack.role_arn,
        AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
    )
    assert "(from web identity" in await works(connect())


async def test_single_sign_on_is_used(connect, ministack, machine, write, env):
    with SingleSignOn(lambda: minted(ministack, seconds=900)) as sso:
        env(**sso.environment)
        write("config", sso.profile("work"))
        sso.sign_in(str(machine))
        identity = await works(connect({"profile_name": "work"}))
    assert "(from SSO, profile 'work')" in identity


async def test_a_sign_in_that_ended_is_renewed_with_its_refresh_token(
    connect, ministack, machine, write, env
):
    with SingleSignOn(lambda: minted(ministack, seconds=900)) as sso:
        env(**sso.environment)
        write("config", sso.profile("work"))
        sso.sign_in(str(machine), seconds=60)
        await works(connect({"profile_name": "work"}))
        assert sso.server.count("^/token") == 1


async def test_without_a_sign_in_the_error_says_the_command(connect, ministack, write, env):
    with SingleSignOn(lambda: minted(ministack, seconds=900)) as sso:
        env(**sso.environment)
        write("config", sso.profile("work"))
        with pytest.raises(UnauthenticatedError, match="aws sso login --profile work"):
            await connect({"profile_name": "work"}).head("k")


async def test_a_credential_process_is_asked(connect, ministack, machine, write):
    keys = minted(ministack, seconds=900)
    text = json.dumps({"Version": 1, **keys.as_json("SessionToken")})
    command = process(str(machine / "helper"), text)
    write("config", f"[profile tool]\ncredential_process = {command}\n")
    identity = await works(connect({"profile_name": "tool"}))
    assert "(from credential_process, profile 'tool')" in identity


@pytest.mark.parametrize(
    ("text", "status"),
    [("not json", 0), ('{"Version": 1}', 0), ('{"Version": 9}', 0), (CANARY_SECRET, 3)],
)
async def test_a_credential_process_that_fails_is_a_clear_error(
    connect, machine, write, text, status
):
    command = process(str(machine / "helper"), text, status=status)
    write("config", f"[profile tool]\ncredential_process = {command}\n")
    with pytest.raises(ConfigurationError, match="profile 'tool'"):
        await connect({"profile_name": "tool"}).head("k")


async def test_a_containers_role_is_used(connect, ministack, env):
    with Container(lambda: minted(ministack, seconds=900)) as container:
        env(**container.environment)
        assert "(from container role)" in await works(connect())


async def test_a_container_that_refuses_is_an_error(connect, ministack, env):
    with Container(lambda: minted(ministack, seconds=900)) as container:
        env(**container.environment, AWS_EC2_METADATA_DISABLED="true")
        env(AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong")
        with pytest.raises(UnavailableError):
            await connect().head("k")


async def test_an_instances_role_is_used(connect, ministack, env):
    with Instance(lambda: minted(ministack, seconds=900)) as instance:
        env(**instance.environment, AWS_EC2_METADATA_DISABLED="false")
        assert "(from instance role)" in await works(connect())
        assert instance.handed_out() == 1


async def test_a_machines_own_services_are_never_asked_through_a_proxy():
    # On loopback nothing is, so what the sessions are told is looked at.
    from asyncstore.providers.s3 import chain

    session = chain.Chain(Settings())._session()
    *_, container, instance = chain._providers(session, Settings(), None)
    for asked in (container._fetcher._session, instance._role_fetcher._session):
        async with asked:
            assert asked._engine.options.proxy is None


async def test_a_provider_serves_one_loop_after_another(ministack, bucket):
    def source():
        return keys_of(ministack, expires_at=time.time() + 3600)

    provider = S3Provider(bucket, Settings(creds=source, endpoint_url=ministack.url))

    async def once():
        await provider.put("loops", b"x")
        with pytest.raises(AlreadyExistsError):
            await provider.put("loops", b"x", if_absent=True)
        await provider.aclose()

    for _ in range(3):
        await asyncio.to_thread(asyncio.run, once())


async def test_anonymous_requests_are_unsigned(connect):
    with SmallServer(lambda _: Reply(200, b"open", {"etag": '"1"'})) as server:
        provider = connect("anon", endpoint_url=server.url, checksums=False)
        assert bytes(await provider.get("k")) == b"open"
        assert (await provider.diagnose())["identity"] == "anonymous"
    assert all("authorization" not in call.headers for call in server.calls)


async def test_anonymous_where_it_is_not_allowed_is_a_refusal(connect):
    with pytest.raises(UnauthenticatedError, match="pass creds="):
        await connect("anon").get("k")


@pytest.mark.parametrize("kind", ["sync", "async", "object"])
async def test_a_callable_is_asked(connect, ministack, kind):
    keys = minted(ministack, seconds=900)

    def source():
        return keys.creds

    async def later():
        return keys.creds

    class Source:
        async def __call__(self):
            return keys.creds

    creds = {"sync": source, "async": later, "object": Source()}[kind]
    assert "(from creds callable)" in await works(connect(creds))


async def test_a_callable_that_blocks_keeps_nobody_else_waiting(connect, ministack):
    keys = minted(ministack, seconds=900)
    here, there = threading.get_ident(), []

    def slow():
        there.append(threading.get_ident())
        return keys.creds

    await works(connect(slow))
    assert here not in there


@pytest.mark.parametrize("form", ["datetime", "text", "zulu", "number"])
async def test_an_end_is_told_in_any_of_its_forms(connect, ministack, form):
    keys = minted(ministack, seconds=900)
    assert keys.expires is not None
    end = {
        "datetime": keys.expires,
        "text": keys.expires.isoformat(),
        "zulu": keys.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "number": keys.expires.timestamp(),
    }[form]
    provider = connect(lambda: {**keys.creds, "expires_at": end})
    await works(provider)
    told = datetime.fromisoformat((await provider.diagnose())["expires_at"])
    assert told.timestamp() == pytest.approx(keys.expires.timestamp(), abs=1)


# What is wrong is refused, and says what to write.


@pytest.mark.parametrize(
    ("creds", "says"),
    [
        ({"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": CANARY_SECRET}, "in lower case"),
        ({"aws_acces_key_id": "x", "aws_secret_access_key": CANARY_SECRET}, "aws_access_key_id"),
        ({"access_key": "x"}, "write 'aws_access_key_id'"),
        ({"AccessKeyId": "x"}, "write 'aws_access_key_id'"),
        ({"key": "x", "secret": CANARY_SECRET}, "write 'aws_access_key_id'"),
        ({"secret": CANARY_SECRET}, "write 'aws_secret_access_key'"),
        ({"endpoint": "http://x"}, "write 'endpoint_url'"),
        ({"profile": "x"}, "write 'profile_name'"),
        ({"colour": "blue"}, "the keys are"),
        ({3: "blue"}, "the keys are"),
        ({"aws_access_key_id": "x"}, "no aws_secret_access_key"),
        ({"aws_secret_access_key": CANARY_SECRET}, "no aws_access_key_id"),
        ({"aws_session_token": CANARY_TOKEN}, "no aws_access_key_id"),
        ({"aws_access_key_id": None, "aws_secret_access_key": None}, "is a variable unset"),
        ({"aws_access_key_id": 7, "aws_secret_access_key": CANARY_SECRET}, "of type int"),
        ({"aws_access_key_id": "", "aws_secret_access_key": CANARY_SECRET}, "is empty"),
        ({"aws_access_key_id": "x", "aws_secret_access_key": CANARY_SECRET + "\n"}, "white space"),
        ({"aws_access_key_id": "x", "aws_secret_access_key": CANARY_SECRET + "é"}, "no key has"),
        ({"profile_name": "x", "aws_access_key_id": "y"}, "one or the other"),
        ({"profile_name": None}, "is a variable unset"),
        ({"aws_region": "eu-west-1", "region": "eu-west-2"}, "which differ"),
        ({"region": "evil.example/"}, "is not a region"),
        ({}, "creds is empty"),
        ("env", 'creds="ENV"'),
        ("anonymous", 'creds="anon"'),
        (CANARY_SECRET, "a text that S3 does not know"),
        (["x"], "of type list"),
        (True, "of type bool"),
    ],
)
@pytest.mark.usefixtures("environment_keys")
async def test_a_wrong_form_is_refused_at_once_and_says_what_to_write(creds, says):
    with pytest.raises(ConfigurationError) as caught:
        S3Provider("bucket", Settings(creds=creds))
    assert says in str(caught.value)
    assert not shows(caught.value)


@pytest.mark.usefixtures("environment_keys")
@pytest.mark.parametrize(
    ("made", "says"),
    [
        (None, "returned a NoneType"),
        ({"profile_name": "x"}, "returns keys"),
        ({"aws_access_key_id": "x"}, "no aws_secret_access_key"),
        ({"Token": CANARY_TOKEN}, "write 'aws_session_token'"),
        ({"expires_at": "tomorrow"}, "no aws_access_key_id"),
    ],
)
async def test_a_callable_that_returns_no_keys_is_an_error(connect, made, says):
    with pytest.raises(ConfigurationError, match=says):
        await connect(lambda: made).head("k")


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("tomorrow", "not ISO 8601"),
        (datetime(2030, 1, 1), "no time zone"),  # noqa: DTZ001 - that is the mistake
        (True, "of type bool"),
        (float("inf"), "of type float"),
        ([1], "of type list"),
    ],
)
async def test_a_wrong_end_is_an_error(connect, end, says):
    source = {"aws_access_key_id": "x", "aws_secret_access_key": CANARY_SECRET, "expires_at": end}
    with pytest.raises(ConfigurationError, match=says):
        await connect(lambda: source).head("k")


async def test_a_callables_own_error_is_told_without_its_text(connect):
    def source():
        raise ValueError(CANARY_SECRET)

    with pytest.raises(ConfigurationError, match="raised ValueError"):
        await connect(source).head("k")


@pytest.mark.usefixtures("environment_keys")
async def test_an_unknown_profile_is_an_error_that_names_the_near_one(connect, ministack, write):
    write("credentials", static_profile(ministack, "production"))
    with pytest.raises(ConfigurationError, match="is it 'production'"):
        await connect({"profile_name": "prodution"}).head("k")
    with pytest.raises(ConfigurationError, match="there are 'production'"):
        await connect({"profile_name": "zzz"}).head("k")


async def test_an_unknown_profile_of_the_environment_is_an_error(connect, ministack, write, env):
    write("credentials", static_profile(ministack))
    env(AWS_PROFILE="nobody")
    with pytest.raises(ConfigurationError, match="no profile 'nobody'"):
        await connect().head("k")


async def test_half_a_pair_in_the_environment_is_an_error(connect, ministack, write, env):
    write("credentials", static_profile(ministack))
    env(AWS_ACCESS_KEY_ID="AKIAHALF")
    with pytest.raises(ConfigurationError, match="half a key pair in the environment"):
        await connect().head("k")


async def test_half_a_pair_in_a_profile_is_an_error(connect, write):
    write("credentials", "[default]\naws_access_key_id = AKIAHALF\n")
    with pytest.raises(ConfigurationError, match="half a key pair in the credentials file"):
        await connect().head("k")


async def test_a_profile_without_keys_does_not_become_the_machine(connect, ministack, write, env):
    write("config", "[profile lab]\nregion = eu-west-1\n")
    with Instance(lambda: minted(ministack, seconds=900)) as instance:
        env(**instance.environment, AWS_EC2_METADATA_DISABLED="false")
        with pytest.raises(ConfigurationError, match="'lab' has no credentials"):
            await connect({"profile_name": "lab"}).head("k")
        assert not instance.server.calls


async def test_a_profile_that_asks_for_a_code_is_an_error_and_no_prompt(
    connect, ministack, write, env
):
    env(AWS_ENDPOINT_URL_STS=ministack.url)
    write(
        "config",
        static_profile(ministack, "profile base")
        + f"[profile lab]\nrole_arn = {ministack.role_arn}\nsource_profile = base\n"
        + "mfa_serial = arn:aws:iam::000000000000:mfa/me\n",
    )
    with pytest.raises(ConfigurationError, match="one-time code"):
        await connect({"profile_name": "lab"}).head("k")


async def test_with_no_identity_at_all_the_error_says_what_there_is(connect):
    with pytest.raises(UnauthenticatedError, match="no AWS credentials found: pass creds="):
        await connect().head("k")


@pytest.mark.usefixtures("environment_keys")
@pytest.mark.parametrize("op", ["head", "get", "put", "list_page", "delete"])
async def test_a_wrong_secret_is_unauthenticated_and_nobody_else(connect, ministack, op):
    provider = connect({**keys_of(ministack), "aws_secret_access_key": CANARY_SECRET})
    arguments = {"put": ("k", b"x"), "delete": (["k"],)}.get(op, ("k",))
    with pytest.raises(UnauthenticatedError) as caught:
        await getattr(provider, op)(*arguments)
    assert f"…{ministack.access_key[-4:]} (from creds=)" in str(caught.value)
    assert caught.value.outcome == "not_applied"


@pytest.mark.usefixtures("environment_keys")
async def test_an_unknown_key_is_unauthenticated(connect):
    creds = {"aws_access_key_id": "AKIANOBODYNOBODY", "aws_secret_access_key": CANARY_SECRET}
    with pytest.raises(UnauthenticatedError, match="AKIA…BODY"):
        await connect(creds).head("k")


@pytest.mark.parametrize("op", ["head", "get", "put", "list_page", "delete", "begin_upload"])
async def test_a_missing_bucket_is_not_found_and_named(connect, ministack, op):
    provider = connect(keys_of(ministack), bucket="no-such-bucket-anywhere")
    arguments = {"put": ("k", b"x"), "delete": (["k"],)}.get(op, ("k",))
    with pytest.raises(NotFoundError, match="no bucket 'no-such-bucket-anywhere'") as caught:
        await getattr(provider, op)(*arguments)
    assert caught.value.url == "s3://no-such-bucket-anywhere"


async def test_with_keys_given_the_machine_is_not_asked(connect, ministack, env):
    with Instance(lambda: minted(ministack, seconds=900)) as instance:
        env(**instance.environment, AWS_EC2_METADATA_DISABLED="false")
        await works(connect(keys_of(ministack)))
        with pytest.raises(StoreError):
            await connect({**keys_of(ministack), "aws_secret_access_key": "wrong"}).head("k")
        assert not instance.server.calls


async def test_keys_do_not_travel_in_clear(connect, ministack):
    provider = connect(keys_of(ministack), endpoint_url="http://storage.example:9000")
    with pytest.raises(ConfigurationError, match="plain HTTP; use https://, or pass allow_http"):
        await provider.head("k")


@pytest.mark.parametrize(
    "url", ["ftp://x", "https://user:pw@host", "https://host/path", "host:9000", "https://h?x=1"]
)
async def test_an_endpoint_that_is_none_is_an_error(connect, ministack, url):
    with pytest.raises(ConfigurationError, match="endpoint"):
        await connect(keys_of(ministack), endpoint_url=url).head("k")


# Renewal.


class Later:
    """The time, and some seconds more: as told by whoever calls it and seen by a provider."""

    seconds = 0.0

    def __call__(self):
        return time.time() + self.seconds

    def on(self, provider):
        provider._client.credentials._clock = self


@pytest.fixture
def later():
    return Later()


class Minting:
    """Keys of 4 seconds for whoever asks; `asked` is when that was."""

    def __init__(self, server):
        self._server = server
        self.asked = []

    def __call__(self):
        self.asked.append(time.monotonic())
        return minted(self._server, seconds=4)

    def assert_not_asked_early(self):
        # Their end is told in whole seconds, so after 3 at least; a quarter of that is the margin.
        assert all(later - earlier > 2 for earlier, later in pairwise(self.asked))


async def test_keys_are_renewed_in_the_middle_of_work(connect, ministack):
    keys = Minting(ministack)
    provider = connect(lambda: keys().creds)
    while len(keys.asked) < 3:
        await works(provider)
    keys.assert_not_asked_early()


async def test_an_upload_goes_on_with_renewed_keys_and_sends_no_part_twice(connect, ministack):
    handed = []

    def source():
        handed.append(minted(ministack, seconds=900))
        return {**handed[-1].creds, "expires_at": time.time() + 3}

    provider = connect(source)
    sent = provider._client.engine.counters
    upload = await provider.begin_upload("long")
    before = sent().requests
    for number in range(1, 100):
        await upload.put_part(number, bytes([number]) * (5 << 20))
        if len(handed) > 1 and number > 5:
            break
        await asyncio.sleep(0.3)
    assert sent().requests - before == number
    await upload.complete()
    assert (await provider.head("long")).size == number * (5 << 20)
    assert len(handed) >= 2


async def test_an_instances_keys_are_renewed_before_they_end(connect, ministack, env):
    keys = Minting(ministack)
    with Instance(keys) as instance:
        env(**instance.environment, AWS_EC2_METADATA_DISABLED="false")
        provider = connect()
        while len(keys.asked) < 3:
            await works(provider)
        assert instance.handed_out() == 3
    keys.assert_not_asked_early()


async def test_a_containers_keys_are_renewed_before_they_end(connect, ministack, env):
    keys = Minting(ministack)
    with Container(keys) as container:
        env(**container.environment)
        provider = connect()
        while len(keys.asked) < 2:
            await works(provider)
        assert container.server.count("/v2/keys") == 2
    keys.assert_not_asked_early()


async def test_keys_that_end_sooner_than_said_are_renewed_and_the_request_redone(
    connect, ministack
):
    handed: list[typing.Any] = []

    def source():
        handed.append(minted(ministack, seconds=900 if handed else 2))
        return {**handed[-1].creds, "expires_at": time.time() + 3600}

    provider = connect(source)
    await works(provider)
    await asyncio.sleep(ending(handed[0]))
    await works(provider)
    assert len(handed) == 2


async def test_keys_that_have_ended_for_good_are_one_refusal(connect, ministack):
    keys = minted(ministack, seconds=1)
    await asyncio.sleep(ending(keys))
    calls = []

    def source():
        calls.append(1)
        return {**keys.creds, "expires_at": None}

    with pytest.raises(UnauthenticatedError, match="have ended"):
        await connect(source).put("k", b"x")
    assert len(calls) == 2


async def test_ten_thousand_tasks_renew_once(connect, ministack):
    calls = []

    async def source():
        calls.append(1)
        await asyncio.sleep(0.05)
        return keys_of(ministack, expires_at=time.time() + 3600)

    provider = connect(source)
    endpoints = [provider._client.endpoint() for _ in range(10_000)]
    assert len(set(map(id, await asyncio.gather(*endpoints)))) <= 1
    assert len(calls) == 1


async def test_each_of_the_waiters_is_told_of_its_own_key(connect):
    async def source():
        await asyncio.sleep(0.01)
        raise RuntimeError

    provider = connect(source)
    calls = [provider.get(f"k{n}") for n in range(3)]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(error, "url", None) for error in errors] == [
        provider.locate(f"k{n}") for n in range(3)
    ]


async def test_a_cancelled_waiter_leaves_the_renewal_to_the_others(connect, ministack):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def source():
        begun.set()
        await go_on.wait()
        return keys_of(ministack)

    provider = connect(source)
    first, second = (asyncio.ensure_future(provider.list_page("")) for _ in range(2))
    await begun.wait()
    first.cancel()
    await asyncio.wait([first])
    go_on.set()
    await second
    assert first.cancelled()


async def test_a_refresh_may_change_the_endpoint(connect, ministack, later):
    with SmallServer(lambda _: Reply(200, b"", {"etag": '"1"', "content-length": "0"})) as other:
        urls = iter([other.url, ministack.url])

        def source():
            return keys_of(ministack, endpoint_url=next(urls), expires_at=later() + 60)

        provider = connect(source, endpoint_url=None)
        later.on(provider)
        await provider.head("k")
        assert other.count("/k")
        later.seconds += 50
        await works(provider)


async def test_a_half_written_file_keeps_the_last_good_identity(connect, ministack, write, env):
    """Keys that end are renewed from a file; what is wrong with it shows only when they end."""
    first = minted(ministack, seconds=6)
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n"
    write("credentials", text.format(first.access_key, first.secret_key, first.token))
    with Instance(lambda: minted(ministack, seconds=900)) as instance:
        env(**instance.environment, AWS_EC2_METADATA_DISABLED="false")
        provider = connect()
        await works(provider)
        write("credentials", "")
        await works(provider)
        await asyncio.sleep(ending(first))
        with pytest.raises(UnauthenticatedError) as caught:
            await provider.put("k", b"x")
        assert "instance role" not in str(caught.value) or "another identity" in str(caught.value)
        with pytest.raises(UnauthenticatedError, match="another identity"):
            await provider.put("k", b"x")
        write("credentials", "[default]\naws_access_key_id = ASIA")
        with pytest.raises(ConfigurationError, match="half a key pair"):
            await provider.put("k", b"x")
        second = minted(ministack, seconds=900)
        write("credentials", text.format(second.access_key, second.secret_key, second.token))
        assert "credentials file" in await works(provider)


async def test_while_the_old_keys_hold_a_failed_renewal_is_not_felt(connect, ministack, later):
    keys, calls = minted(ministack, seconds=900), []

    def source():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError(CANARY_SECRET)
        return {**keys.creds, "expires_at": later() + 60}

    provider = connect(source)
    later.on(provider)
    await works(provider)
    later.seconds += 50
    await works(provider)
    assert len(calls) == 2
    later.seconds += 20
    with pytest.raises(ConfigurationError, match="raised RuntimeError"):
        await works(provider)


async def test_a_credential_process_does_not_outlive_a_cancelled_wait(
    connect, machine, write, monkeypatch
):
    from asyncstore.providers.s3 import chain

    monkeypatch.setattr(chain, "PATIENCE", 0.5)
    pid = machine / "pid"
    script = machine / "sleeper"
    script.write_text(
        f"#!{sys.executable}\nimport os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    script.chmod(0o700)
    write("config", f"[profile slow]\ncredential_process = {script}\n")
    with pytest.raises(StoreError, match="no credentials within"):
        await connect({"profile_name": "slow"}).head("k")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_the_services_that_hand_out_keys_are_not_followed_elsewhere(
    connect, ministack, write, env
):
    profile = static_profile(ministack, "profile base") + (
        f"[profile lab]\nrole_arn = {ministack.role_arn}\nsource_profile = base\n"
    )
    write("config", profile)
    with SmallServer(lambda _: Reply(200)) as other:
        away = Reply(307, b"", {"location": f"{other.url}/"})
        with SmallServer(lambda _: away) as sts:
            env(AWS_ENDPOINT_URL_STS=sts.url)
            with pytest.raises(StoreError):
                await connect({"profile_name": "lab"}).head("k")
            assert sts.calls
            assert all("expect" not in call.headers for call in sts.calls)
        assert not other.calls


async def test_a_service_that_hands_out_keys_and_fails_is_unavailable(
    connect, ministack, write, env
):
    profile = static_profile(ministack, "profile base") + (
        f"[profile lab]\nrole_arn = {ministack.role_arn}\nsource_profile = base\n"
    )
    write("config", profile)
    with SmallServer(lambda _: Reply(500)) as sts:
        env(AWS_ENDPOINT_URL_STS=sts.url)
        with pytest.raises(UnavailableError):
            await connect({"profile_name": "lab"}).head("k")
    env(AWS_ENDPOINT_URL_STS="http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="could not be reached"):
        await connect({"profile_name": "lab"}).head("k")
    env(AWS_ENDPOINT_URL_STS="http://sts.example")
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        await connect({"profile_name": "lab"}).head("k")


# Secrets.


async def test_keys_that_a_service_hands_out_are_in_no_log(connect, ministack, write, env, caplog):
    env(AWS_ENDPOINT_URL_STS=ministack.url)
    write(
        "config",
        static_profile(ministack, "profile base")
        + f"[profile lab]\nrole_arn = {ministack.role_arn}\nsource_profile = base\n",
    )
    provider = connect({"profile_name": "lab"})
    with caplog.at_level("DEBUG"):
        creds = (await provider._client.endpoint()).creds
    for secret in (creds.secret_key, creds.session_token):
        assert secret.reveal() not in caplog.text


async def test_nothing_that_holds_keys_shows_them(connect, ministack):
    guard(ministack.secret_key)
    provider = connect(keys_of(ministack))
    await works(provider)
    endpoint = await provider._client.endpoint()
    for thing in (provider, provider._client, provider._client.credentials, endpoint):
        assert not shows(thing)
    assert not shows(endpoint.creds)
    assert not shows(await provider.diagnose())
    assert ministack.secret_key not in repr(vars(provider._client))


async def test_presigning_needs_keys_that_last_as_long(connect, ministack):
    end = datetime.now(UTC) + timedelta(seconds=100)
    provider = connect(lambda: keys_of(ministack, expires_at=end))
    assert "X-Amz-Signature" in await provider.presign("k", expires=50)
    with pytest.raises(ConfigurationError, match="end in"):
        await provider.presign("k", expires=500)
    with pytest.raises(ConfigurationError, match="anonymous"):
        await connect("anon").presign("k")


async def test_every_row_of_the_reference_names_a_test():
    here = Path(__file__)
    text = (here.parents[2] / "docs/reference/credentials-s3.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text)) - {"test_s3_faults"}
    found = {
        name
        for file in here.parent.glob("test_s3*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text())
    }
    assert len(named) > 40
    assert named <= found


async def test_keys_in_a_dict_load_no_sdk():
    code = (
        "import sys\n"
        "from asyncstore.providers.s3 import S3Provider\n"
        "from asyncstore.types import Settings\n"
        "S3Provider('bucket', Settings(creds={'aws_access_key_id': 'a', "
        "'aws_secret_access_key': 'b'}))\n"
        "print(sorted({'botocore', 'aiobotocore', 'aiohttp'} & set(sys.modules)))\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert out.strip() == b"[]"
