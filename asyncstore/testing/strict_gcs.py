"""A small, strict Google Cloud Storage on loopback, written from its documented JSON API.

It does what no server that installs does: it enforces generation preconditions on every call,
checks the hashes of uploads, refuses a bad bearer, speaks the resumable protocol with all its
edges, verifies signed URLs, and misbehaves on demand (`SmallServer.fail`). It stands beside
fake-gcs-server in the tests, never instead of it.

Source: https://cloud.google.com/storage/docs/json_api/v1.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import google_crc32c

from asyncstore.testing.boundaries import Ask, Boundary
from asyncstore.testing.small_http import Call, Reply, SmallServer

QUANTUM = 256 * 1024
_GONE = 410
_CANCELLED = 499


class RefusedError(Exception):
    """A call is answered with an error."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.message = message or reason


@dataclass
class Stored:
    """One generation of an object."""

    name: str
    data: bytes
    generation: int
    content_type: str = "application/octet-stream"
    content_encoding: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def crc32c(self) -> str:
        """Base64 of the big-endian CRC-32C."""
        return base64.b64encode(google_crc32c.value(self.data).to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str:
        """Base64 of the MD5."""
        digest = hashlib.md5(self.data, usedforsecurity=False).digest()
        return base64.b64encode(digest).decode()

    def resource(self) -> dict[str, Any]:
        """Return the JSON that describes it."""
        found: dict[str, Any] = {
            "kind": "storage#object",
            "name": self.name,
            "size": str(len(self.data)),
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": self.content_type,
            "updated": self.updated.isoformat().replace("+00:00", "Z"),
            "crc32c": self.crc32c,
            "md5Hash": self.md5,
        }
        if self.metadata:
            found["metadata"] = self.metadata
        if self.content_encoding:
            found["contentEncoding"] = self.content_encoding
        return found


@dataclass
class Bucket:
    """Objects by name, and who may reach them."""

    objects: dict[str, Stored] = field(default_factory=dict)
    public: bool = False
    requester_pays: bool = False


@dataclass
class Session:
    """A resumable upload under way."""

    bucket: str
    resource: dict[str, Any]
    query: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    done: Stored | None = None
    keep: int | None = None  # of the next chunk, how much is kept


class StrictGCS(SmallServer):
    """The server; a context manager.

    Attributes:
        tokens: the bearer tokens that are accepted, each with what it may do: `"rw"`, `"r"`.
        boundaries: what of that the narrowed ones among them may do.
        keys: service accounts' addresses to their public keys, for signed URLs.
        sessions: resumable uploads by their ids; removed when they end.
        rewrite_step: bytes that one rewrite call copies.
        quirks: `"ignores preconditions"` makes it the look-alike that overwrites in silence.
    """

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.buckets: dict[str, Bucket] = {}
        self.tokens: dict[str, str] = {}
        self.boundaries: dict[str, Boundary] = {}
        self.keys: dict[str, Any] = {}
        self.sessions: dict[str, Session] = {}
        self.rewrite_step = 1 << 30
        self.quirks: set[str] = set()
        self._guard = threading.RLock()
        self._generations = itertools.count(time.time_ns() // 1000)
        self._names = itertools.count(1)
        self._rewrites: dict[str, tuple[str, str, int, int]] = {}

    def make_bucket(self, name: str | None = None, /, **options: Any) -> str:
        """Make a bucket and return its name."""
        name = name or f"strict-{next(self._names)}"
        self.buckets[name] = Bucket(**options)
        return name

    def store(self, bucket: str, name: str, data: bytes, /, **options: Any) -> Stored:
        """Put an object there directly."""
        with self._guard:
            stored = Stored(name, data, next(self._generations), **options)
            self.buckets[bucket].objects[name] = stored
            return stored

    # Routing.

    def _reply(self, call: Call) -> Reply:
        try:
            with self._guard:
                return self._route(call)
        except RefusedError as error:
            body = {
                "error": {
                    "code": error.status,
                    "message": error.message,
                    "errors": [{"domain": "global", "reason": error.reason}],
                }
            }
            return _json(body, error.status)

    def _route(self, call: Call) -> Reply:
        found = re.fullmatch(r"(/upload|/download)?/storage/v1/b/([^/]+)(/o(?:/.*)?)?", call.path)
        if found is None:
            return self._by_path(call)
        kind, name, rest = found[1], unquote(found[2]), found[3]
        write = call.method != "GET"
        bucket = self._enter(call, name, write=write)
        self._check_boundary(call, _asks(call, kind, name, rest))
        if kind == "/upload":
            return self._upload(call, name)
        if rest is None:
            return _json({"kind": "storage#bucket", "name": name, "location": "LOOPBACK"})
        if rest == "/o":
            return self._list(call, bucket)
        parts = [unquote(part) for part in rest.split("/")[2:]]
        if len(parts) == 1:
            return self._object(call, bucket, parts[0])
        if len(parts) == 6 and parts[1:3] == ["rewriteTo", "b"] and call.method == "POST":
            return self._rewrite(call, bucket, parts[0], parts[3], parts[5])
        raise RefusedError(404, "notFound")

    def _enter(self, call: Call, name: str, *, write: bool) -> Bucket:
        """Check the bearer, the right and the bucket, in that order, as Google does."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        bucket = self.buckets.get(name)
        if not token:
            if bucket is None or not bucket.public or write:
                raise RefusedError(401, "required", "Anonymous caller does not have access.")
        elif scheme != "Bearer" or token not in self.tokens:
            raise RefusedError(401, "authError", f"Invalid Credentials: {token}")
        elif write and "w" not in self.tokens[token]:
            raise RefusedError(403, "forbidden", "The caller does not have write access.")
        if bucket is None:
            raise RefusedError(404, "notFound", "The specified bucket does not exist.")
        payer = call.query.get("userProject") or (
            call.headers.get("x-goog-user-project") if "/storage/v1/" not in call.path else None
        )
        if bucket.requester_pays and not payer:
            raise RefusedError(400, "required", "Bucket is requester pays; no user project given.")
        return bucket

    def _check_boundary(self, call: Call, asks: list[Ask]) -> None:
        boundary = self.boundaries.get(call.headers.get("authorization", "").partition(" ")[2])
        if boundary is not None and not all(map(boundary.allows, asks)):
            raise RefusedError(403, "forbidden", "The caller does not have that access.")

    # Objects.

    def _object(self, call: Call, bucket: Bucket, name: str) -> Reply:
        found = self._find(call, bucket, name)
        if call.method == "DELETE":
            del bucket.objects[name]
            return Reply(204)
        if call.method != "GET":
            raise RefusedError(405, "methodNotAllowed")
        if call.query.get("alt") == "media":
            return _media(call, found)
        return _json(found.resource())

    def _find(self, call: Call, bucket: Bucket, name: str) -> Stored:
        found = bucket.objects.get(name)
        wanted = call.query.get("generation")
        if found is not None and wanted is not None and wanted != str(found.generation):
            found = None
        if "ifGenerationMatch" in call.query and found is not None:
            self._check(call.query, "if", found)
        if found is None:
            raise RefusedError(404, "notFound", f"No such object: {name}")
        return found

    def _check(self, query: dict[str, str], prefix: str, found: Stored | None) -> None:
        now = str(found.generation) if found is not None else "0"
        match, other = (query.get(f"{prefix}Generation{n}") for n in ("Match", "NotMatch"))
        if "ignores preconditions" in self.quirks:
            return
        if (match is not None and match != now) or (other is not None and other == now):
            raise RefusedError(412, "conditionNotMet", "At least one of the pre-conditions failed.")

    def _create(
        self, bucket: Bucket, resource: dict[str, Any], data: bytes, query: dict[str, str]
    ) -> Stored:
        name = resource.get("name") or query.get("name")
        if not isinstance(name, str) or not name or len(name.encode()) > 1024:
            raise RefusedError(400, "invalid", "The object name is missing or too long.")
        if name in (".", "..") or "\r" in name or "\n" in name:
            raise RefusedError(400, "invalid", "The object name is not allowed.")
        self._check(query, "if", bucket.objects.get(name))
        stored = Stored(
            name,
            data,
            next(self._generations),
            resource.get("contentType") or "application/octet-stream",
            resource.get("contentEncoding") or "",
            resource.get("metadata") or {},
        )
        for field_name, right in (("crc32c", stored.crc32c), ("md5Hash", stored.md5)):
            told = resource.get(field_name)
            if told is not None and told != right:
                label = field_name.removesuffix("Hash").upper()
                raise RefusedError(
                    400,
                    "invalid",
                    f'Provided {label} "{told}" doesn\'t match calculated {label} "{right}".',
                )
        bucket.objects[name] = stored
        return stored

    def _rewrite(
        self, call: Call, bucket: Bucket, source: str, target_bucket: str, target: str
    ) -> Reply:
        there = self.buckets.get(target_bucket)
        found = bucket.objects.get(source)
        if there is None or found is None:
            raise RefusedError(404, "notFound", f"No such object: {source}")
        self._check(call.query, "ifSource", found)
        self._check(call.query, "if", there.objects.get(target))
        token, done = call.query.get("rewriteToken"), 0
        if token is not None:
            before = self._rewrites.pop(token, None)
            if before is None or before[:3] != (source, target, found.generation):
                raise RefusedError(400, "invalid", "The rewrite token does not fit.")
            done = before[3]
        done = min(done + self.rewrite_step, len(found.data))
        size = str(len(found.data))
        answer: dict[str, Any] = {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(done),
            "objectSize": size,
        }
        if done < len(found.data):
            token = secrets.token_urlsafe(8)
            self._rewrites[token] = (source, target, found.generation, done)
            return _json(answer | {"done": False, "rewriteToken": token})
        stored = self._create(there, found.resource() | {"name": target}, found.data, {})
        return _json(answer | {"done": True, "resource": stored.resource()})

    def _list(self, call: Call, bucket: Bucket) -> Reply:
        query = call.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start, most = query.get("startOffset", ""), min(int(query.get("maxResults", "1000")), 1000)
        token = query.get("pageToken")
        last = base64.urlsafe_b64decode(token).decode() if token else None
        items: list[dict[str, Any]] = []
        folders: list[str] = []
        place = ""
        for name in sorted(bucket.objects, key=str.encode):
            if not name.startswith(prefix) or name.encode() < start.encode():
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            entry = name if cut < 0 else name[: cut + len(delimiter)]
            if last is not None and (entry.encode() <= last.encode()):
                continue
            if entry in folders:
                continue
            if len(items) + len(folders) == most:
                more = base64.urlsafe_b64encode(place.encode()).decode()
                return _json(_listing(items, folders) | {"nextPageToken": more})
            place = entry
            if cut < 0:
                items.append(bucket.objects[name].resource())
            else:
                folders.append(entry)
        return _json(_listing(items, folders))

    # Uploads.

    def _upload(self, call: Call, name: str) -> Reply:
        bucket = self.buckets[name]
        if "upload_id" in call.query:
            return self._resume(call, bucket)
        kind = call.query.get("uploadType")
        if call.method != "POST" or not call.whole:
            raise RefusedError(400, "invalid")
        if kind == "multipart":
            resource, data = _related(call)
            return _json(self._create(bucket, resource, data, call.query).resource())
        if kind == "media":
            resource = {"contentType": call.headers.get("content-type")}
            return _json(self._create(bucket, resource, call.body, call.query).resource())
        if kind == "resumable":
            resource = json.loads(call.body or b"{}")
            self._check(call.query, "if", bucket.objects.get(str(resource.get("name"))))
            number = secrets.token_urlsafe(16)
            self.sessions[number] = Session(name, resource, call.query)
            path = f"/upload/storage/v1/b/{name}/o?uploadType=resumable&upload_id={number}"
            return Reply(200, headers={"location": f"{self.url}{path}"})
        raise RefusedError(400, "invalid", "uploadType is missing")

    def _resume(self, call: Call, bucket: Bucket) -> Reply:
        number = call.query["upload_id"]
        session = self.sessions.get(number)
        if session is None:
            raise RefusedError(_GONE, "gone")
        if call.method == "DELETE":
            if session.done is None:
                del self.sessions[number]
            return Reply(_CANCELLED)
        if session.done is not None:
            return _json(session.done.resource())
        first, stop, total = _content_range(call)
        if first is None:
            if call.body:
                raise RefusedError(400, "invalid", "A query for the status has no body.")
            if total != len(session.data):
                return _incomplete(session)
        elif first != len(session.data):
            raise RefusedError(400, "invalid", "The chunk does not begin where the last one ended.")
        elif call.whole and len(call.body) != stop - first:
            raise RefusedError(400, "invalid", "The chunk is not as long as its range.")
        return self._take(call, session, bucket, total)

    def _take(self, call: Call, session: Session, bucket: Bucket, total: int | None) -> Reply:
        arrived = call.body
        is_last = total is not None and len(session.data) + len(arrived) == total
        if call.whole and not is_last and len(arrived) % QUANTUM:
            raise RefusedError(400, "invalid", "A chunk is a multiple of 256 KiB.")
        keep, session.keep = session.keep, None
        if keep is not None or not call.whole:
            keep = len(arrived) if keep is None else keep
            session.data += arrived[: keep - (len(session.data) + keep) % QUANTUM]
            return _incomplete(session)
        session.data += arrived
        if not is_last:
            return _incomplete(session)
        told = dict(
            part.strip().split("=", 1)
            for part in call.headers.get("x-goog-hash", "").split(",")
            if part
        )
        resource = session.resource
        if "crc32c" in told:
            resource = resource | {"crc32c": told["crc32c"]}
        try:
            stored = self._create(bucket, resource, bytes(session.data), session.query)
        except RefusedError:
            self.sessions = {n: s for n, s in self.sessions.items() if s is not session}
            raise
        session.done = stored
        session.data = bytearray()
        return _json(stored.resource())

    @property
    def open_uploads(self) -> int:
        """How many resumable uploads are neither complete nor cancelled."""
        return sum(1 for session in self.sessions.values() if session.done is None)

    # The XML API: reads, and signed URLs.

    def _by_path(self, call: Call) -> Reply:
        if "X-Goog-Signature" in call.query:
            return self._signed(call)
        bucket_name, _, name = unquote(call.path).lstrip("/").partition("/")
        if call.method != "GET":
            raise RefusedError(405, "methodNotAllowed")
        bucket = self._enter(call, bucket_name, write=False)
        self._check_boundary(call, [Ask("storage.objects.get", bucket_name, name)])
        query = {}
        if "x-goog-if-generation-match" in call.headers:
            query["ifGenerationMatch"] = call.headers["x-goog-if-generation-match"]
        found = bucket.objects.get(name)
        if found is None:
            raise RefusedError(404, "NoSuchKey")
        self._check(query, "if", found)
        reply = _media(call, found)
        for field_name, value in found.metadata.items():
            reply.headers[f"x-goog-meta-{field_name}"] = value
        return reply

    def _signed(self, call: Call) -> Reply:
        query = dict(call.query)
        signature = query.pop("X-Goog-Signature", None)
        account, _, scope = query.get("X-Goog-Credential", "").partition("/")
        bucket_name, _, name = unquote(call.path).lstrip("/").partition("/")
        bucket, key = self.buckets.get(bucket_name), self.keys.get(account)
        if bucket is None or signature is None or key is None:
            raise RefusedError(403, "forbidden", "SignatureDoesNotMatch")
        begin = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        life = int(query["X-Goog-Expires"])
        if not 0 < life <= 604_800 or datetime.now(UTC) > begin + timedelta(seconds=life):
            raise RefusedError(400, "ExpiredToken")
        _verify(key, call, query, scope, signature)
        if call.method == "PUT":
            resource = {"name": name, "contentType": call.headers.get("content-type")}
            self._create(bucket, resource, call.body, {})
            return Reply(200)
        found = bucket.objects.get(name)
        if found is None:
            raise RefusedError(404, "notFound")
        if call.method == "DELETE":
            del bucket.objects[name]
            return Reply(204)
        return _media(call, found)


def _asks(call: Call, kind: str | None, bucket: str, rest: str | None) -> list[Ask]:
    """Return what a call of the JSON API wants of which objects."""
    if kind == "/upload":
        if "upload_id" in call.query:
            return []  # the session was begun by somebody who might
        name = call.query.get("name") or _told(call).get("name")
        return [Ask("storage.objects.create", bucket, str(name))]
    if rest is None:
        return [Ask("storage.buckets.get", bucket)]
    if rest == "/o":
        return [Ask("storage.objects.list", bucket, prefix=call.query.get("prefix", ""))]
    parts = [unquote(part) for part in rest.split("/")[2:]]
    verb = {"GET": "get", "DELETE": "delete"}.get(call.method, "update")
    if len(parts) == 1:
        return [Ask(f"storage.objects.{verb}", bucket, parts[0])]
    return [
        Ask("storage.objects.get", bucket, parts[0]),
        Ask("storage.objects.create", parts[3], parts[5]),
    ]


def _told(call: Call) -> dict[str, Any]:
    """Return the resource that an upload's body describes."""
    if call.query.get("uploadType") == "multipart":
        return _related(call)[0]
    found: dict[str, Any] = json.loads(call.body or b"{}")
    return found


def _verify(key: Any, call: Call, query: dict[str, str], scope: str, signature: str) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - 30 ms
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

    names = query["X-Goog-SignedHeaders"].split(";")
    headers = dict(call.headers) | {"host": call.headers["host"].partition(":")[0]}
    lines = "".join(f"{name}:{headers.get(name, '')}\n" for name in names)
    text = "&".join(sorted(f"{_encode(n)}={_encode(v)}" for n, v in query.items()))
    canonical = f"{call.method}\n{call.path}\n{text}\n{lines}\n{';'.join(names)}\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signed = f"GOOG4-RSA-SHA256\n{query['X-Goog-Date']}\n{scope}\n{digest}"
    try:
        key.verify(bytes.fromhex(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise RefusedError(403, "forbidden", "SignatureDoesNotMatch") from None


def _encode(text: str) -> str:
    safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"
    return "".join(c if c in safe else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


def _media(call: Call, found: Stored) -> Reply:
    data, size = found.data, len(found.data)
    headers = {
        "content-type": found.content_type,
        "x-goog-generation": str(found.generation),
        "x-goog-hash": f"crc32c={found.crc32c},md5={found.md5}",
        "x-goog-stored-content-length": str(size),
        "x-goog-stored-content-encoding": found.content_encoding or "identity",
        "last-modified": found.updated.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    }
    if found.content_encoding == "gzip":
        if "gzip" not in call.headers.get("accept-encoding", ""):
            return Reply(200, gzip.decompress(data), headers)
        headers["content-encoding"] = "gzip"
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("range", ""))
    if wanted is None:
        return Reply(200, data, headers)
    first = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
    stop = min(size, int(wanted[2]) + 1) if wanted[1] and wanted[2] else size
    if first >= size or (not wanted[1] and int(wanted[2]) == 0):
        return Reply(416, b"", {"content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {first}-{stop - 1}/{size}"
    return Reply(206, data[first:stop], headers)


def _related(call: Call) -> tuple[dict[str, Any], bytes]:
    """Take a `multipart/related` body apart."""
    found = re.search(r'boundary="?([^";]+)"?', call.headers.get("content-type", ""))
    if found is None:
        raise RefusedError(400, "invalid", "There is no boundary.")
    mark = f"--{found[1]}".encode()
    first, second = call.body.find(mark), call.body.find(b"\r\n" + mark)
    last = call.body.rfind(b"\r\n" + mark + b"--")
    if first != 0 or not 0 < second < last:
        raise RefusedError(400, "invalid", "The body has not two parts.")
    parts = (call.body[len(mark) + 2 : second], call.body[second + len(mark) + 4 : last])
    described, data = (part.partition(b"\r\n\r\n")[2] for part in parts)
    return json.loads(described), data


def _content_range(call: Call) -> tuple[int | None, int, int | None]:
    """Return first byte, stop and total; first is `None` where the status is asked for."""
    found = re.fullmatch(
        r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", call.headers.get("content-range", "")
    )
    if found is None:
        raise RefusedError(400, "invalid", "Content-Range is missing.")
    total = None if found[3] == "*" else int(found[3])
    if found[1] is None:
        return None, 0, total
    return int(found[1]), int(found[2]) + 1, total


def _incomplete(session: Session) -> Reply:
    held = len(session.data)
    return Reply(308, headers={"range": f"bytes=0-{held - 1}"} if held else {})


def _listing(items: list[dict[str, Any]], folders: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "storage#objects"}
    return found | ({"items": items} if items else {}) | ({"prefixes": folders} if folders else {})


def _json(value: dict[str, Any], status: int = 200) -> Reply:
    body = json.dumps(value).encode()
    return Reply(status, body, {"content-type": "application/json; charset=UTF-8"})


__all__ = ["Bucket", "RefusedError", "Session", "Stored", "StrictGCS"]
