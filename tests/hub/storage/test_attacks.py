"""What somebody with keys, without keys, or between a client and the storage may try."""

from __future__ import annotations

import base64
import json

import pytest
import pytest_asyncio

from asyncstore.errors import ConfigurationError
from asyncstore.hub.storage import Storage
from asyncstore.testing.storing import ask
from asyncstore.wire.sigv4 import Signer

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def planted(client):
    """Another tenant's object, another data set's, and one of the client's own."""
    for grant, key in (
        (client.grant(bucket="org-b"), "/org-b/ds/k"),
        (client.grant(prefix="ds2/"), "ds2/k"),
        (client.grant(), "ds/k"),
    ):
        client.use(grant)
        assert (await client.ask("PUT", key, body=b"secret")).status == 200


OUTSIDE = (
    "/org-b/ds/k",  # another bucket
    "/org-b/ds/none",
    "ds2/k",  # a prefix that begins the same
    "other/k",
    "k",
    "../org-b/ds/k",
    "/org-b",
    "/org-none/ds/k",
)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("key", OUTSIDE)
async def test_what_is_outside_is_denied_alike_whether_it_is_there_or_not(
    client, planted, method, key
):
    query = "uploads=" if method == "POST" else ""
    answer = await client.ask(method, key, query)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert b"<Message>Access Denied</Message>" in answer.body


@pytest.mark.parametrize(
    "query",
    [
        "list-type=2",
        "list-type=2&prefix=",
        "list-type=2&prefix=d",
        "list-type=2&prefix=ds",
        "list-type=2&prefix=ds2/",
        "prefix=ds",
        "uploads=",
        "uploads=&prefix=ds2/",
    ],
)
async def test_only_the_grants_own_prefix_is_listed(client, planted, query):
    assert (await client.ask("GET", "/org-a", query)).code == "AccessDenied"


async def test_a_token_or_a_marker_leads_no_listing_outside(client, planted):
    everything = base64.urlsafe_b64encode(b"a").decode()
    for query in (
        f"list-type=2&prefix=ds/&continuation-token={everything}",
        "list-type=2&prefix=ds/&start-after=a",
        "prefix=ds/&marker=a",
    ):
        answer = await client.ask("GET", "/org-a", query)
        assert answer.body.count(b"<Key>") == 1, query
        assert b"<Key>ds/k</Key>" in answer.body


@pytest.mark.parametrize(
    "source", ["/org-b/ds/k", "org-a/ds2/k", "%2Forg-b%2Fds%2Fk", "org-b%2Fds/k"]
)
async def test_nothing_is_copied_from_outside(client, planted, source):
    headers = {"x-amz-copy-source": source}
    assert (await client.ask("PUT", "ds/copy", headers=headers)).code == "AccessDenied"
    begun = await client.ask("POST", "ds/copy", "uploads=")
    upload = begun.body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    query = f"partNumber=1&uploadId={upload}"
    assert (await client.ask("PUT", "ds/copy", query, headers)).code == "AccessDenied"


async def test_another_keys_upload_is_not_to_be_had_by_its_name(client):
    client.use(client.grant(prefix="ds2/"))
    begun = await client.ask("POST", "ds2/k", "uploads=")
    upload = begun.body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    client.use(client.grant())
    for method, query in (
        ("PUT", f"partNumber=1&uploadId={upload}"),
        ("GET", f"uploadId={upload}"),
        ("DELETE", f"uploadId={upload}"),
    ):
        assert (await client.ask(method, "ds/k", query)).code == "NoSuchUpload"


async def test_names_with_dots_are_names_and_lead_nowhere(client, storage, planted):
    for key in ("ds/../../../etc/passwd", "ds/..", "ds/.", "ds//x", "ds/%2e%2e/%2e%2e/x", "ds/\0"):
        assert (await client.ask("PUT", key, body=b"mine")).status == 200
        assert (await client.ask("GET", key)).body == b"mine"
    assert await storage.size_of("org-a", "ds/") == len(b"secret") + 6 * 4
    client.use(client.grant(bucket="org-b"))
    assert (await client.ask("GET", "/org-b/ds/k")).body == b"secret"


def changed_token(client, storage, clock):
    raw = bytearray(base64.urlsafe_b64decode(client.token))
    raw[20] ^= 1
    client.token = base64.urlsafe_b64encode(raw).decode()


def cut_token(client, storage, clock):
    client.token = client.token[:-4]


def respelt_token(client, storage, clock):
    client.token = client.token.rstrip("=") + "\u00e9"


def own_token(client, storage, clock):
    grant = ["org-a", "ds/", "w", clock.now + 99, "a", "ds", "t"]
    client.token = base64.urlsafe_b64encode(b"n" * 12 + json.dumps(grant).encode()).decode()


def token_of_another_server(client, storage, clock):
    made = Storage("/nowhere", b"other" * 8).mint(client.grant())
    client.access_key, client.token = made["aws_access_key_id"], made["aws_session_token"]
    client.secret = made["aws_secret_access_key"]


def swapped_secret(client, storage, clock):
    client.secret = storage.mint(client.grant())["aws_secret_access_key"]


def swapped_token(client, storage, clock):
    """The keys of a narrow grant with the token of a wide one."""
    client.token = storage.mint(client.grant(prefix="other/"))["aws_session_token"]


def swapped_name(client, storage, clock):
    client.access_key = storage.mint(client.grant())["aws_access_key_id"]


def no_token(client, storage, clock):
    client.token = None


def ended(client, storage, clock):
    client.use(client.grant(expires=clock.now))


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (changed_token, "InvalidToken"),
        (cut_token, "InvalidToken"),
        (respelt_token, "InvalidToken"),
        (own_token, "InvalidToken"),
        (token_of_another_server, "InvalidToken"),
        (swapped_secret, "SignatureDoesNotMatch"),
        (swapped_token, "InvalidAccessKeyId"),
        (swapped_name, "InvalidAccessKeyId"),
        (no_token, "InvalidAccessKeyId"),
        (ended, "ExpiredToken"),
    ],
)
async def test_keys_that_are_not_the_storages_own_open_nothing(client, planted, attack, code):
    attack(client, client.storage, client.clock)
    for method in ("GET", "PUT", "DELETE"):
        assert (await client.ask(method, "ds/k")).code == code


def another_method(target, headers):
    return "DELETE", target, headers


def another_key(target, headers):
    return "GET", target.replace("ds/k", "ds/l"), headers


def another_bucket(target, headers):
    return "GET", target.replace("org-a", "org-b"), headers


def more_query(target, headers):
    return "GET", target + "?response-content-type=text/html", headers


def another_host(target, headers):
    return "GET", target, headers | {"host": "evil.test"}


def unsigned_header(target, headers):
    return "GET", target, headers | {"x-amz-checksum-mode": "ENABLED"}


def unsigned_copy(target, headers):
    return "PUT", target, headers | {"x-amz-copy-source": "org-a/ds/k"}


def host_not_signed(target, headers):
    text = headers["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    return "GET", target, headers | {"authorization": text}


def names_twice(target, headers):
    text = headers["authorization"].replace("SignedHeaders=host;", "SignedHeaders=host;host;")
    return "GET", target, headers | {"authorization": text}


def another_service(target, headers):
    text = headers["authorization"].replace("/s3/", "/iam/")
    return "GET", target, headers | {"authorization": text}


def another_algorithm(target, headers):
    text = headers["authorization"].replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")
    return "GET", target, headers | {"authorization": text}


def empty_signature(target, headers):
    text = headers["authorization"].partition("Signature=")[0] + "Signature="
    return "GET", target, headers | {"authorization": text}


def no_authorization(target, headers):
    return "GET", target, {n: v for n, v in headers.items() if n != "authorization"}


def another_payload(target, headers):
    return "GET", target, headers | {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}


def two_lengths(target, headers):
    return "GET", target, headers | {"transfer-encoding": "chunked"}


TAMPERED = {
    another_method: "SignatureDoesNotMatch",
    another_key: "SignatureDoesNotMatch",
    another_bucket: "SignatureDoesNotMatch",
    more_query: "SignatureDoesNotMatch",
    another_host: "SignatureDoesNotMatch",
    unsigned_header: "AccessDenied",
    unsigned_copy: "AccessDenied",
    host_not_signed: "SignatureDoesNotMatch",
    names_twice: "SignatureDoesNotMatch",
    another_service: "AuthorizationHeaderMalformed",
    another_algorithm: "AuthorizationHeaderMalformed",
    empty_signature: "AuthorizationHeaderMalformed",
    no_authorization: "AccessDenied",
    another_payload: "SignatureDoesNotMatch",
    two_lengths: "InvalidRequest",
}


@pytest.mark.parametrize("attack", TAMPERED, ids=lambda attack: attack.__name__)
async def test_a_request_that_was_changed_on_its_way_is_refused(client, planted, attack):
    method, target, headers = attack(*client.signed("GET", "ds/k")[:2])
    assert (await client.send(method, target, headers)).code == TAMPERED[attack]
    assert (await client.ask("GET", "ds/k")).body == b"secret"


@pytest.mark.parametrize(
    "name", ["host", "authorization", "x-amz-copy-source", "range", "if-match"]
)
async def test_a_header_that_comes_twice_has_no_reading(client, storage, planted, name):
    target, headers, _ = client.signed(
        "GET", "ds/k", headers={name: "a"} if name[0] in "xri" else {}
    )
    twice = [*headers.items(), (name, "b")]
    assert (await ask(storage, "GET", target, twice)).code == "InvalidRequest"


@pytest.mark.parametrize(
    "target", ["/org-a/ds/%zz", "/org-a/ds/%", "/org-a/ds/%ff", "/org-a/ds/%c3"]
)
async def test_a_path_with_no_single_reading_is_refused(client, target):
    _, headers, _ = client.signed("GET", "ds/k")
    assert (await client.send("GET", target, headers)).code == "InvalidURI"


async def test_a_recorded_request_is_of_no_use_a_quarter_of_an_hour_later(client, clock, planted):
    recorded = client.signed("GET", "ds/k")
    clock.now += 15 * 60
    assert (await client.send("GET", *recorded)).status == 200
    clock.now += 1
    assert (await client.send("GET", *recorded)).code == "RequestTimeTooSkewed"
    clock.now -= 30 * 60 + 2
    assert (await client.send("GET", *recorded)).code == "RequestTimeTooSkewed"


async def test_keys_end_in_the_middle_of_the_work(client, clock, planted):
    client.use(client.grant(expires=clock.now + 10))
    assert (await client.ask("GET", "ds/k")).status == 200
    clock.now += 10
    answer = await client.ask("GET", "ds/k")
    assert (answer.status, answer.code) == (400, "ExpiredToken")


def presigned(client, storage, **options):
    keys = {"expires": 60, "host": "hub.test"} | options
    return storage.presign(client.grant(), "ds/k", **keys)


async def test_a_presigned_url_works_until_it_ends(client, storage, clock, planted):
    url = presigned(client, storage)
    headers = {"host": "hub.test"}
    assert (await client.send("GET", url, headers)).body == b"secret"
    clock.now += 59
    assert (await client.send("GET", url, headers)).status == 200
    clock.now += 1
    answer = await client.send("GET", url, headers)
    assert (answer.status, answer.code) == (403, "AccessDenied")


async def test_a_presigned_url_may_put_what_it_was_made_for(client, storage):
    url = presigned(client, storage, method="PUT")
    headers = {"host": "hub.test", "content-length": "3"}
    assert (await client.send("PUT", url, headers, [b"new"])).status == 200
    assert (await client.ask("GET", "ds/k")).body == b"new"


PRESIGNED = {
    "another key": lambda url: ("GET", url.replace("ds/k", "ds2/k"), {}),
    "another method": lambda url: ("DELETE", url, {}),
    "a longer life": lambda url: ("GET", url.replace("Expires=60", "Expires=604800"), {}),
    "more query": lambda url: ("GET", url + "&response-content-type=text/html", {}),
    "a parameter twice": lambda url: ("GET", url + "&X-Amz-Expires=604800", {}),
    "another host": lambda url: ("GET", url, {"host": "evil.test"}),
    "a header of S3's": lambda url: ("GET", url, {"x-amz-checksum-mode": "ENABLED"}),
    "two ways": lambda url: ("GET", url, {"authorization": "AWS4-HMAC-SHA256 x"}),
    "no token": lambda url: ("GET", _without(url, "X-Amz-Security-Token"), {}),
    "no signature": lambda url: ("GET", _without(url, "X-Amz-Signature"), {}),
    "no signed headers": lambda url: ("GET", _without(url, "X-Amz-SignedHeaders"), {}),
    "an older scheme": lambda url: ("GET", url.replace("HMAC-SHA256", "HMAC-SHA1"), {}),
}


def _without(url, name):
    path, _, query = url.partition("?")
    return path + "?" + "&".join(one for one in query.split("&") if not one.startswith(name))


@pytest.mark.parametrize("attack", PRESIGNED)
async def test_a_presigned_url_is_for_one_thing(client, storage, planted, attack):
    method, url, headers = PRESIGNED[attack](presigned(client, storage))
    answer = await client.send(method, url, {"host": "hub.test"} | headers)
    assert answer.status in (400, 403)
    assert answer.code
    assert (await client.ask("GET", "ds/k")).body == b"secret"


async def test_a_presigned_url_is_not_made_wider_than_its_grant(client, storage):
    with pytest.raises(ConfigurationError):
        storage.presign(client.grant(), "other/k", 60, host="hub.test")
    with pytest.raises(ConfigurationError):
        storage.presign(client.grant(mode="r"), "ds/k", 60, host="hub.test", method="PUT")
    ended = client.grant(expires=client.clock.now - 1)
    with pytest.raises(ConfigurationError):
        storage.presign(ended, "ds/k", 60, host="hub.test")


async def test_nobody_is_anonymous(storage, planted):
    for target in ("/", "/org-a", "/org-a/ds/k"):
        answer = await ask(storage, "GET", target, [("host", "hub.test")])
        assert (answer.status, answer.code) == (403, "AccessDenied")


async def test_a_signer_without_a_token_is_nobody(storage, client, planted):
    signer = Signer("AKIAIOSFODNN7EXAMPLE", "s" * 40, region="us-east-1")
    headers = signer.sign("GET", "hub.test", "/org-a/ds/k", now=client.clock.now)
    answer = await client.send("GET", "/org-a/ds/k", headers | {"host": "hub.test"})
    assert answer.code == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    "change",
    [
        {"prefix": ""},
        {"prefix": "ds"},
        {"prefix": "/ds/"},
        {"bucket": "B/x"},
        {"bucket": ""},
        {"mode": "rw"},
        {"expires": float("nan")},
    ],
)
async def test_a_grant_that_would_be_too_wide_is_not_made(client, storage, change):
    with pytest.raises(ConfigurationError):
        storage.mint(client.grant(**change))


async def test_entities_and_documents_without_end_are_refused(client):
    bomb = (
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]>'
        b"<Delete><Object><Key>ds/&b;</Key></Object></Delete>"
    )
    assert (await client.ask("POST", "/org-a", "delete=", body=bomb)).code == "MalformedXML"
    deep = b"<Delete>" + b"<a>" * 200_000
    assert (await client.ask("POST", "/org-a", "delete=", body=deep)).code == "MalformedXML"
    long = b"<Delete>" + b" " * (5 << 20)
    answer = await client.ask("POST", "/org-a", "delete=", body=long)
    assert answer.code == "MaxMessageLengthExceeded"


async def test_heads_that_are_too_long_are_refused(client):
    assert (await client.ask("GET", "ds/" + "k" * 1022)).code == "KeyTooLongError"
    headers = {f"x-amz-meta-{n}": "v" * 900 for n in range(30)}
    answer = await client.ask("PUT", "ds/k", headers=headers)
    assert answer.code == "RequestHeaderSectionTooLarge"
    answer = await client.ask("PUT", "ds/k", headers={"x-amz-meta-a": "v" * 2100})
    assert answer.code == "MetadataTooLarge"
