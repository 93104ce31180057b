"""Which call a request is, and whether its grant goes so far.

Whatever is outside a grant is answered alike, whether it is there or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.hub.storage import copying, documents, listing, multipart, reading, uploads, writing
from asyncstore.hub.storage.conditions import known_writes
from asyncstore.hub.storage.faults import Refused, denied, no_such_key
from asyncstore.hub.storage.intake import Intake, Share
from asyncstore.hub.storage.request import Reply, document
from asyncstore.wire.s3 import XMLNS

if TYPE_CHECKING:
    from asyncstore.hub.storage.committing import Committer
    from asyncstore.hub.storage.files import Files
    from asyncstore.hub.storage.index import Finder, Index
    from asyncstore.hub.storage.request import Request
    from asyncstore.hub.storage.signing import Claim

REGION = "us-east-1"
"""The region that the storage says it is in; a request may be signed for any."""
READS = frozenset({"GET", "HEAD"})
"""The methods that change nothing."""
# Parameters that ask for another thing than the object or the listing.
_OTHERS = frozenset(
    {"accelerate", "acl", "analytics", "attributes", "cors", "encryption", "intelligent-tiering"}
    | {"inventory", "legal-hold", "lifecycle", "logging", "metrics", "notification"}
    | {"object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock"}
    | {"renameObject", "replication", "requestPayment", "restore", "retention", "select", "session"}
    | {"tagging", "torrent", "versions", "website"}
)


class Routes:
    """The calls of an open storage.

    Args:
        index, files: where everything is.
        finder: looks objects up.
        committer: what changes it.
    """

    def __init__(self, index: Index, files: Files, finder: Finder, committer: Committer) -> None:
        self._index = index
        self._finder = finder
        self._files = files
        self._committer = committer
        self._coming, self._going = Share(), Share()

    async def answer(self, request: Request, claim: Claim, key: bytes) -> Reply:
        """Answer a request that was verified.

        Raises:
            Refused: it is outside its grant, or is not to be had.
        """
        if request.method not in READS and request.grant.mode != "w":
            raise denied()
        if not request.bucket:
            return _buckets(request)
        if request.bucket != request.grant.bucket:
            raise denied()
        if not request.key:
            return await self._bucket(request, claim, key)
        if not request.grant.covers(request.bucket, request.key):
            # Whether the data set's folder is an object is what some ask first; it never is.
            raise no_such_key() if _is_folder(request) else denied()
        if _OTHERS & request.query.keys():
            raise _not_here()
        if request.query.get("versionId", "null") != "null":
            raise Refused("NoSuchVersion", "The specified version does not exist.")
        if request.method in READS:
            return await self._read(request)
        known_writes(request.headers)
        if request.method == "PUT":
            return await self._put(request, claim, key)
        return await self._other(request, claim, key)

    async def _bucket(self, request: Request, claim: Claim, key: bytes) -> Reply:
        query, method = request.query, request.method
        if _OTHERS & query.keys():
            raise _not_here()
        if method == "POST" and "delete" in query:
            body = await Intake(request, claim, key).document(documents.BODY_MAX)
            return await writing.delete_many(request, body, self._committer)
        if method == "HEAD":
            return Reply(200, {"x-amz-bucket-region": REGION})
        if method == "PUT":
            raise Refused("BucketAlreadyOwnedByYou", "The bucket is there, and it is yours")
        if method != "GET":
            raise _no_method()
        if "location" in query:
            return document(f'<LocationConstraint xmlns="{XMLNS}"/>')
        if "versioning" in query:
            return document(f'<VersioningConfiguration xmlns="{XMLNS}"/>')
        if "uploads" in query:
            return await uploads.uploads(request, self._index)
        return await listing.objects(request, self._index)

    async def _read(self, request: Request) -> Reply:
        if request.method == "HEAD":
            return await reading.head(request, self._finder)
        if "uploadId" in request.query:
            return await uploads.parts(request, self._index)
        return await reading.get(request, self._finder, self._files, self._going)

    async def _put(self, request: Request, claim: Claim, key: bytes) -> Reply:
        copied = "x-amz-copy-source" in request.headers
        if "partNumber" in request.query and "uploadId" in request.query:
            if copied:
                return await copying.copy_part(
                    request, self._index, self._files, self._going, self._committer
                )
            kind = await multipart.kind_of_part(request, self._index)
            intake = Intake(request, claim, key, kind=kind, inline=False)
            content = await intake.take(self._files, self._coming)
            return await multipart.put_part(request, content, self._committer)
        if copied:
            return await writing.copy(request, self._committer)
        told = writing.about(request.headers)
        content = await Intake(request, claim, key).take(self._files, self._coming)
        return await writing.put(request, content, told, self._committer)

    async def _other(self, request: Request, claim: Claim, key: bytes) -> Reply:
        query = request.query
        if request.method == "DELETE":
            if "uploadId" in query:
                return await multipart.abort(request, self._committer)
            return await writing.delete(request, self._committer)
        if request.method == "POST" and "uploads" in query:
            return await multipart.begin(request, self._committer)
        if request.method == "POST" and "uploadId" in query:
            body = await Intake(request, claim, key, whole=False).document(documents.BODY_MAX)
            return await multipart.complete(request, body, self._committer)
        raise _no_method()


def _is_folder(request: Request) -> bool:
    return request.method in READS and f"{request.key}/" == request.grant.prefix


def _buckets(request: Request) -> Reply:
    if request.method != "GET":
        raise _no_method()
    name = documents.text(request.grant.bucket)
    return document(
        f'<ListAllMyBucketsResult xmlns="{XMLNS}"><Owner><ID>{name}</ID></Owner><Buckets><Bucket>'
        f"<Name>{name}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate>"
        "</Bucket></Buckets></ListAllMyBucketsResult>"
    )


def _not_here() -> Refused:
    return Refused("NotImplemented", "A parameter you provided implies what is not implemented")


def _no_method() -> Refused:
    return Refused("MethodNotAllowed", "The specified method is not allowed against this resource.")
