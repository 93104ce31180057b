"""Bodies in every form that is signed, whole or not as they were signed; the storage decides."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import zlib
from urllib.parse import quote, urlencode

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncstore.hub.storage.signing import signing_key
from asyncstore.testing.storing import ask

pytestmark = pytest.mark.asyncio
DATA = os.urandom(100_000)
CRC = base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
EMPTY = hashlib.sha256(b"").hexdigest()


def framed(client, headers, *, trailer="", step=30_000):
    """Return DATA in signed frames, by AWS's own description, and not by the storage's code."""
    stamp = headers["x-amz-date"]
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    key = signing_key(client.secret, stamp[:8], "us-east-1")
    last = headers["authorization"].rpartition("=")[2]

    def sign(what, rest):
        text = f"AWS4-HMAC-SHA256-{what}\n{stamp}\n{scope}\n{last}\n{rest}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    out = []
    for at in range(0, len(DATA) + step, step):
        piece = DATA[at : at + step]
        last = sign("PAYLOAD", f"{EMPTY}\n{hashlib.sha256(piece).hexdigest()}")
        end = b"\r\n" if piece else b""
        out.append(f"{len(piece):x};chunk-signature={last}\r\n".encode() + piece + end)
    if trailer:
        hashed = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
        last = sign("TRAILER", hashed)
        out.append(f"{trailer}\r\nx-amz-trailer-signature:{last}\r\n".encode())
    return b"".join([*out, b"\r\n"])


def prepared(client, *, form, trailer=""):
    more = {"x-amz-decoded-content-length": str(len(DATA)), "content-encoding": "aws-chunked"}
    if trailer:
        more["x-amz-trailer"] = trailer.partition(":")[0]
    target, headers, _ = client.signed("PUT", "ds/k", headers=more, payload=form)
    if form == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
        size = f"{len(DATA):x}".encode()
        body = size + b"\r\n" + DATA + b"\r\n0\r\n" + trailer.encode() + b"\r\n\r\n"
    else:
        body = framed(client, headers, trailer=trailer)
    return target, headers | {"content-length": str(len(body))}, body


FORMS = {
    "signed": ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""),
    "signed, trailer": (
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        f"x-amz-checksum-crc32:{CRC}",
    ),
    "trailer": ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", f"x-amz-checksum-crc32:{CRC}"),
}


def pieces(body, step):
    return [body[at : at + step] for at in range(0, len(body), step)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", [1 << 20, 7_001, 13])
async def test_frames_are_put_together_however_they_arrive(client, form, step):
    kind, trailer = FORMS[form]
    target, headers, body = prepared(client, form=kind, trailer=trailer)
    put = await client.send("PUT", target, headers, pieces(body, step))
    assert put.status == 200, put.body
    got = await client.ask("GET", "ds/k")
    assert got.body == DATA
    assert "content-encoding" not in got.headers
    if trailer:
        assert put.headers["x-amz-checksum-crc32"] == CRC


@pytest.mark.parametrize("form", FORMS)
async def test_a_changed_or_shortened_frame_is_refused_and_nothing_is_written(
    client, storage, form, tmp_path
):
    kind, trailer = FORMS[form]
    target, headers, body = prepared(client, form=kind, trailer=trailer)
    at = body.index(DATA[50_000:50_100])
    flipped = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    changed = [flipped, body[:-40], body[: len(body) // 2], b"zz\r\n" + body]
    if trailer:
        changed.append(body.replace(CRC.encode(), b"AAAAAA=="))
        changed.append(body[: body.rindex(b"x-amz-checksum")] + b"\r\n")
    if form.startswith("signed"):
        changed.append(body.replace(b";chunk-signature=", b";chunk-signaturf=", 1))
    for other in changed:
        answer = await client.send("PUT", target, headers, pieces(other, 9_000))
        assert answer.status in (400, 403), answer.body
    assert (await client.ask("GET", "ds/k")).code == "NoSuchKey"
    await storage.aclose()
    assert [path for path in (tmp_path / "storage" / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_body_that_is_not_what_was_said_is_refused(client, size):
    body = DATA[:size]
    other = bytes([body[0] ^ 1]) + body[1:]
    target, headers, _ = client.signed("PUT", "ds/k", body=body)
    answer = await client.send("PUT", target, headers, [other])
    assert answer.code == "XAmzContentSHA256Mismatch"
    for name, value in (
        (
            "content-md5",
            base64.b64encode(hashlib.md5(other, usedforsecurity=False).digest()).decode(),
        ),
        ("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(other).digest()).decode()),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-crc32c", "AAAAAA=="),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
    ):
        answer = await client.ask("PUT", "ds/k", headers={name: value}, body=body)
        assert answer.code == "BadDigest", name
    assert (await client.ask("GET", "ds/k")).code == "NoSuchKey"


async def test_a_client_that_goes_away_leaves_nothing(client, storage, tmp_path):
    data = os.urandom(3 << 20)
    target, headers, _ = client.signed("PUT", "ds/k", body=data)
    answer = await client.send("PUT", target, headers, pieces(data[:-1], 65_536), ends=False)
    assert answer.status == 0
    assert (await client.ask("GET", "ds/k")).code == "NoSuchKey"
    await storage.aclose()
    assert [path for path in (tmp_path / "storage" / "data").rglob("*") if path.is_file()] == []


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    key=TEXT, query=st.dictionaries(TEXT.filter(bool), TEXT, max_size=3), presigned=st.booleans()
)
async def test_what_botocore_signs_is_verified(client, key, query, presigned):
    query = {f"q{name}": value for name, value in query.items()}
    path = quote(f"/org-a/ds/{key}", safe="/-._~")
    url = f"http://hub.test{path}"
    if query:
        url += "?" + urlencode(query, quote_via=quote)
    request = AWSRequest("GET", url, headers={"host": "hub.test"})
    keys = Credentials(client.access_key, client.secret, client.token)
    if presigned:
        S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=60).add_auth(request)
    else:
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    target = request.url.removeprefix("http://hub.test")
    answer = await ask(client.storage, "GET", target, _lower(request.headers))
    assert answer.code == "NoSuchKey", answer.body


def _lower(headers):
    return [(name.lower(), value) for name, value in headers.items()]
