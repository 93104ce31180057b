"""Keys for one data set, against a service that enforces session policies and their ends."""

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from contextlib import closing
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

import asyncstore
from asyncstore.errors import (
    ConfigurationError,
    IntegrityError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.http import Origin
from asyncstore.hub.minting import Minter, Reach, amazon
from asyncstore.testing.canary import CANARY_SECRET, CANARY_TOKEN, guard, shows
from asyncstore.testing.small_http import Reply, SmallServer
from asyncstore.url import StoreURL

pytestmark = pytest.mark.asyncio

PREFIX = "team/data+set é'1"
INSIDE = [f"{PREFIX}/dataset_meta.json", f"{PREFIX}/x/chunks/0"]
OUTSIDE = [PREFIX, f"{PREFIX}2/key", "team/other/key", "key"]


@pytest_asyncio.fixture
async def minter():
    async with Minter(Reach(loopback=True)) as minter:
        yield minter


def stored(server, **changes):
    return {
        "kind": "aws",
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "role_arn": "arn:aws:iam::000000000000:role/storage",
        "endpoint_url": server.url,
        "region": server.region,
    } | changes


@pytest.fixture(scope="module")
def place(ministack):
    bucket = ministack.make_bucket()
    with closing(ministack.client()) as client:
        for key in [*INSIDE, *OUTSIDE]:
            client.put_object(Bucket=bucket, Key=key, Body=b"before")
    return StoreURL("s3", bucket, PREFIX)


def client_of(server, minted):
    creds = minted.creds
    guard(creds["aws_secret_access_key"])
    return closing(
        server.client(
            access_key=creds["aws_access_key_id"],
            secret_key=creds["aws_secret_access_key"],
            session_token=creds["aws_session_token"],
        )
    )


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


class TestASession:
    async def test_reads_what_is_inside_and_nothing_outside(self, minter, ministack, place):
        minted = await minter.mint(stored(ministack), place, mode="r", lifetime=900)
        with client_of(ministack, minted) as client:
            for key in INSIDE:
                assert client.get_object(Bucket=place.bucket, Key=key)["Body"].read() == b"before"
            for key in OUTSIDE:
                assert refused(client.get_object, Bucket=place.bucket, Key=key) == "AccessDenied"
                assert refused(client.head_object, Bucket=place.bucket, Key=key) == "403"

    async def test_lists_what_is_inside_and_nothing_outside(self, minter, ministack, place):
        minted = await minter.mint(stored(ministack), place, mode="r", lifetime=900)
        with client_of(ministack, minted) as client:
            for prefix in (f"{PREFIX}/", f"{PREFIX}/x/"):
                found = client.list_objects_v2(Bucket=place.bucket, Prefix=prefix)
                assert INSIDE[1] in [each["Key"] for each in found["Contents"]]
                assert all(each["Key"].startswith(prefix) for each in found["Contents"])
            for prefix in ("", "team/", PREFIX, f"{PREFIX}2/"):
                code = refused(client.list_objects_v2, Bucket=place.bucket, Prefix=prefix)
                assert code == "AccessDenied"
            assert refused(client.list_objects_v2, Bucket=place.bucket) == "AccessDenied"
            assert refused(client.list_multipart_uploads, Bucket=place.bucket) == "AccessDenied"

    async def test_that_reads_changes_nothing(self, minter, ministack, place):
        minted = await minter.mint(stored(ministack), place, mode="r", lifetime=900)
        where = {"Bucket": place.bucket, "Key": INSIDE[0]}
        with client_of(ministack, minted) as client:
            assert refused(client.put_object, **where, Body=b"after") == "AccessDenied"
            assert refused(client.delete_object, **where) == "AccessDenied"
            assert refused(client.create_multipart_upload, **where) == "AccessDenied"
            assert refused(client.copy_object, **where, CopySource=where) == "AccessDenied"
            assert client.get_object(**where)["Body"].read() == b"before"

    async def test_that_writes_does_so_inside_alone(self, minter, ministack, place):
        minted = await minter.mint(stored(ministack), place, mode="w", lifetime=900)
        mine = {"Bucket": place.bucket, "Key": f"{PREFIX}/new"}
        with client_of(ministack, minted) as client:
            client.put_object(**mine, Body=b"after")
            upload = client.create_multipart_upload(**mine)["UploadId"]
            client.upload_part(**mine, UploadId=upload, PartNumber=1, Body=b"part")
            client.abort_multipart_upload(**mine, UploadId=upload)
            client.copy_object(Bucket=place.bucket, Key=f"{PREFIX}/copy", CopySource=mine)
            for key in OUTSIDE:
                theirs = {"Bucket": place.bucket, "Key": key}
                assert refused(client.put_object, **theirs, Body=b"after") == "AccessDenied"
                assert refused(client.delete_object, **theirs) == "AccessDenied"
                assert refused(client.create_multipart_upload, **theirs) == "AccessDenied"
                assert refused(client.copy_object, **mine, CopySource=theirs) == "AccessDenied"
                assert refused(client.copy_object, **theirs, CopySource=mine) == "AccessDenied"
            client.delete_object(**mine)

    async def test_is_all_that_the_librarys_own_store_needs(self, minter, ministack, place):
        minted = await minter.mint(stored(ministack), place, mode="w", lifetime=900)
        creds = {k: v for k, v in minted.creds.items() if k != "expiration"}
        async with asyncstore.open_store(str(place), creds=creds) as store:
            await store.put("own/key", b"bytes")
            assert bytes(await store.get("own/key")) == b"bytes"
            assert [meta.key async for meta in store.list("own/")] == ["own/key"]
            with pytest.raises(asyncstore.NotFoundError):
                await store.get("own/missing")
            await store.delete("own/key")

    async def test_reaches_no_other_bucket(self, minter, ministack, place):
        other = ministack.make_bucket()
        with closing(ministack.client()) as client:
            client.put_object(Bucket=other, Key=INSIDE[0], Body=b"theirs")
        minted = await minter.mint(stored(ministack), place, mode="w", lifetime=900)
        with client_of(ministack, minted) as client:
            assert refused(client.get_object, Bucket=other, Key=INSIDE[0]) == "AccessDenied"

    async def test_ends(self, minter, ministack, place, monkeypatch):
        monkeypatch.setattr(amazon, "SHORTEST", 1)
        minted = await minter.mint(stored(ministack), place, mode="r", lifetime=1)
        assert minted.creds["expiration"] == minted.expires <= time.time() + 1
        with client_of(ministack, minted) as client:
            deadline = time.monotonic() + 10
            code = ""
            while code != "ExpiredToken" and time.monotonic() < deadline:
                try:
                    client.get_object(Bucket=place.bucket, Key=INSIDE[0])
                except ClientError as error:
                    code = error.response["Error"]["Code"]
            assert code == "ExpiredToken"
            assert time.time() >= minted.expires - 1


@pytest.fixture(scope="module")
def role(ministack):
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": "organisation-7"}},
            }
        ],
    }
    keys = {"access_key": ministack.root_key, "secret_key": ministack.root_secret}
    with closing(ministack.client("iam", **keys)) as iam:
        made = iam.create_role(RoleName="ours", AssumeRolePolicyDocument=json.dumps(trust))
    return made["Role"]["Arn"]


class TestARole:
    async def test_that_asks_for_an_external_id_is_told_it(self, minter, ministack, place, role):
        managed = stored(ministack, role_arn=role)
        with pytest.raises(PermissionDeniedError, match="external id"):
            await minter.mint(managed, place, mode="r", lifetime=900)
        with pytest.raises(PermissionDeniedError):
            await minter.mint(
                managed | {"external_id": "organisation-8"}, place, mode="r", lifetime=900
            )
        right = managed | {"external_id": "organisation-7"}
        minted = await minter.mint(right, place, mode="r", lifetime=900)
        # The policy takes away and never gives: this role may do nothing with S3.
        with client_of(ministack, minted) as client:
            code = refused(client.get_object, Bucket=place.bucket, Key=INSIDE[0])
            assert code == "AccessDenied"

    async def test_is_refused_where_the_stored_secret_is_wrong(self, minter, ministack, place):
        with pytest.raises(UnauthenticatedError, match="wrong or were revoked") as caught:
            await minter.mint(
                stored(ministack, secret_key=CANARY_SECRET), place, mode="r", lifetime=900
            )
        assert not shows(caught.value)

    async def test_is_assumed_at_another_emulator_too(self, minter, moto):
        managed = stored(moto, role_arn="arn:aws:iam::123456789012:role/any")
        url = StoreURL("s3", "bucket", "ds")
        minted = await minter.mint(managed, url, mode="r", lifetime=1800)
        guard(minted.creds["aws_secret_access_key"])
        assert minted.creds["endpoint_url"] == moto.url
        assert minted.creds["aws_region"] == moto.region
        assert 1700 < minted.expires - time.time() <= 1800


class TestAKeyPair:
    async def test_is_handed_out_where_both_say_so(self, minter, ministack, place):
        managed = stored(ministack, role_arn=None, allow_static=True)
        minted = await minter.mint(managed, place, mode="w", lifetime=600, allow_static=True)
        assert minted.creds["aws_access_key_id"] == ministack.access_key
        assert "aws_session_token" not in minted.creds
        assert 590 < minted.expires - time.time() <= 600

    async def test_is_not_handed_out_to_just_anybody(self, minter, ministack, place):
        managed = stored(ministack, role_arn=None, allow_static=True)
        with pytest.raises(PermissionDeniedError, match="key pair without a role"):
            await minter.mint(managed, place, mode="w", lifetime=600)

    async def test_is_never_handed_out_where_there_is_a_role(self, minter, ministack, place):
        managed = stored(ministack, allow_static=True)
        minted = await minter.mint(managed, place, mode="r", lifetime=900, allow_static=True)
        assert minted.creds["aws_access_key_id"] != ministack.access_key
        guard(minted.creds["aws_secret_access_key"])


def fetch(method, url):
    request = urllib.request.Request(url, method=method)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class TestAURL:
    @pytest.mark.parametrize("role", ["arn:aws:iam::000000000000:role/storage", None])
    async def test_reads_one_object(self, minter, ministack, place, role):
        managed = stored(ministack, role_arn=role, allow_static=role is None)
        url = guard(await minter.presign(managed, place.join("dataset_meta.json"), expires=600))
        other = url.replace("dataset_meta.json", "x/chunks/0")
        tried = [("GET", url), ("PUT", url), ("DELETE", url), ("GET", other)]
        answers = [await asyncio.to_thread(fetch, *each) for each in tried]
        assert [status for status, _ in answers] == [200, 403, 403, 403]
        assert answers[0][1] == b"before"

    @pytest.mark.parametrize("expires", [0, -1, 8 * 24 * 3600])
    async def test_has_an_end(self, minter, ministack, place, expires):
        managed = stored(ministack, role_arn=None, allow_static=True)
        with pytest.raises(ConfigurationError, match="expires"):
            await minter.presign(managed, place.join("key"), expires=expires)


@pytest.mark.parametrize(
    ("asked", "chained", "right"),
    [
        (1, False, 900),
        (900, False, 900),
        (3600.5, False, 3601),
        (10**6, False, 43_200),
        (10**6, True, 3600),
        (1, True, 900),
    ],
)
async def test_a_session_is_as_long_as_was_asked_within_what_there_is(asked, chained, right):
    assert amazon.session_seconds(asked, chained=chained) == right


def answer(seconds=3600):
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    keys = {
        "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
        "SecretAccessKey": CANARY_SECRET,
        "SessionToken": CANARY_TOKEN,
        "Expiration": end,
    }
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in keys.items())
    return Reply(
        200,
        f'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
        f"<Credentials>{inner}</Credentials></AssumeRoleResult></AssumeRoleResponse>".encode(),
    )


def fault(code, message="", status=400):
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, f"<ErrorResponse>{error}</ErrorResponse>".encode())


class TestAService:
    URL = StoreURL("s3", "bucket", "ds")

    @pytest.fixture
    def service(self):
        with SmallServer(lambda _: answer()) as server:
            yield server

    def managed(self, service):
        return {
            "kind": "aws",
            "access_key": "AKIAIOSFODNN7EXAMPLE",
            "secret_key": CANARY_SECRET,
            "role_arn": "arn:aws:iam::123456789012:role/x",
            "sts_endpoint_url": service.url,
            "region": "eu-central-1",
        }

    async def test_whose_roles_sessions_are_shorter_is_asked_for_an_hour(self, minter, service):
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        service.fail("reply", "/", fault("ValidationError", message))
        minted = await minter.mint(self.managed(service), self.URL, mode="r", lifetime=43_200)
        asked = [parse_qs(call.body.decode())["DurationSeconds"] for call in service.calls]
        assert asked == [["43200"], ["3600"]]
        assert 3500 < minted.expires - time.time() <= 3600

    async def test_is_asked_by_temporary_keys_for_an_hour_at_most(self, minter, service):
        managed = self.managed(service) | {"session_token": CANARY_TOKEN}
        await minter.mint(managed, self.URL, mode="r", lifetime=43_200)
        (call,) = service.calls
        assert parse_qs(call.body.decode())["DurationSeconds"] == ["3600"]
        assert call.headers["x-amz-security-token"] == CANARY_TOKEN

    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            (fault("AccessDenied", status=403), PermissionDeniedError),
            (fault("InvalidClientTokenId", status=403), UnauthenticatedError),
            (fault("ExpiredToken"), UnauthenticatedError),
            (fault("Throttling"), ThrottledError),
            (fault("InternalFailure", status=500), UnavailableError),
            (fault("MalformedPolicyDocument"), ConfigurationError),
            (fault("PackedPolicyTooLarge"), ConfigurationError),
            (fault("ValidationError", "MaxSessionDuration"), ConfigurationError),
            (Reply(302, headers={"location": "http://169.254.169.254/"}), ConfigurationError),
            (Reply(200, b"<html>sign in</html>"), IntegrityError),
            (Reply(200, b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'), IntegrityError),
            (answer(seconds=-60), ConfigurationError),
            (Reply(503, b"\xff" * 100), UnavailableError),
        ],
    )
    async def test_that_refuses_is_told_from_one_that_fails(self, minter, service, reply, error):
        reply.body = reply.body.replace(b"</Error>", f"{CANARY_SECRET}</Error>".encode())
        service.fail("reply", "/", reply, times=2)
        with pytest.raises(error) as caught:
            await minter.mint(self.managed(service), self.URL, mode="r", lifetime=900)
        assert isinstance(caught.value, StoreError)
        assert not shows(caught.value)

    async def test_whose_name_means_this_machine_by_now_is_not_asked(self, service, monkeypatch):
        where = ("127.0.0.1", Origin.parse(service.url).port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        managed = self.managed(service) | {"sts_endpoint_url": "https://sts.example.com"}
        async with Minter() as minter:
            minter.validate(managed)
            with pytest.raises(ConfigurationError, match="not permitted"):
                await minter.mint(managed, self.URL, mode="r", lifetime=900)
        assert service.calls == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (StoreURL("s3", "bucket", ""), "whole bucket"),
        (StoreURL("gcs", "bucket", "ds"), "for s3:// paths"),
        (StoreURL("s3", "bucket", "a*"), "pattern"),
    ],
)
async def test_a_place_that_cannot_be_narrowed_is_refused_before_anybody_is_asked(
    minter, url, said
):
    managed = {
        "kind": "aws",
        "access_key": "AKIAIOSFODNN7EXAMPLE",
        "secret_key": CANARY_SECRET,
        "role_arn": "arn:aws:iam::123456789012:role/x",
        "endpoint_url": "http://127.0.0.1:1",
    }
    with pytest.raises(ConfigurationError, match=said):
        await minter.mint(managed, url, mode="r", lifetime=900)
