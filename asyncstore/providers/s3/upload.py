"""Uploads in parts: nothing is visible before `complete`, and nothing is kept after `abort`.

The service joins whatever list of parts it is given, so the list is checked here: numbers from 1
without a gap, and the sum of the sizes. Where the service takes CRC-64/NVME, the checksum of the
whole is joined from the parts' and sent along, for the service to compare. Some look-alikes answer
that they will sum up the parts' checksums instead; then theirs is compared here with ours.
"""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING, Literal, TypeAlias

from asyncstore.errors import IntegrityError, NotFoundError, StoreError, UnavailableError
from asyncstore.providers.s3.checksums import TYPE, join_crc64, sum_up_crc64
from asyncstore.providers.s3.client import Ask
from asyncstore.providers.s3.reading import head, quoted
from asyncstore.providers.s3.writing import CRC, send_checked
from asyncstore.types import ObjectMeta
from asyncstore.wire import s3 as wire
from asyncstore.wire.sigv4 import encode_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.http import Response
    from asyncstore.providers.s3.capabilities import Facts
    from asyncstore.providers.s3.client import Client
    from asyncstore.providers.s3.faults import Condition
    from asyncstore.types import Buffer

_MD5_HEX = 32

Sums: TypeAlias = Literal["whole", "parts", "none"]
"""What the service sums up when it joins: the object's bytes, its parts' checksums, or nothing."""

MARKS: Mapping[Sums, str] = {"whole": "j:", "parts": "c:", "none": "p:"}
"""What a token begins with, by what the service sums up."""


async def begin(
    client: Client,
    facts: Facts,
    key: str,
    headers: Mapping[str, str],
    *,
    op: str = "begin_upload",
    size: int | None = None,
    condition: tuple[Mapping[str, str], Condition] = ({}, None),
) -> S3Upload:
    """Begin an upload.

    Args:
        client: the bucket's.
        facts: of the bucket.
        key: where to.
        headers: the object's media type and metadata.
        op: for messages.
        size: of the whole object, where known.
        condition: headers that hold at `complete`, and what they mean.
    """
    headers = dict(headers)
    if client.settings.checksums and facts.crc:
        headers["x-amz-checksum-algorithm"] = "CRC64NVME"
        headers[TYPE] = "FULL_OBJECT"
    # Replayed, it would leave another upload behind that nobody knows of.
    ask = Ask(op, "POST", key, "uploads=", headers, replayable=False)
    reply = await client.call(ask)
    try:
        told = wire.fields(reply.body, *wire.BEGUN)
    except IntegrityError as error:
        raise error.at(op, client.locate(key)) from None
    if isinstance(told, wire.Fault):
        raise client.failed(ask, reply, told)
    name = told.get("UploadId", "")
    if not name:
        raise IntegrityError("the service began an upload without a name for it").at(
            op, client.locate(key)
        )
    return S3Upload(
        client,
        facts,
        key,
        name,
        size=size,
        condition=condition,
        sums=_sums(headers, reply.headers),
    )


def _sums(asked: Mapping[str, str], answer: Mapping[str, str]) -> Sums:
    if TYPE not in asked:
        return "none"
    return "parts" if answer.get(TYPE) == "COMPOSITE" else "whole"


class S3Upload:
    """An object on its way in parts; see `provider.Upload`.

    Attributes:
        key: where to.
        name: the service's name for the upload.
        sums: what the service sums up when it joins them.
    """

    def __init__(
        self,
        client: Client,
        facts: Facts,
        key: str,
        name: str,
        *,
        size: int | None,
        condition: tuple[Mapping[str, str], Condition],
        sums: Sums,
    ) -> None:
        self._client = client
        self._facts = facts
        self.key = key
        self.name = name
        self._size = size
        self._headers, self._condition = condition
        self.sums = sums
        self._parts: dict[int, wire.Part] = {}
        self._sizes: dict[int, int] = {}
        self._over = False

    def _query(self, **more: str) -> str:
        return encode_query({**more, "uploadId": self.name})

    def _where(self, op: str) -> tuple[str, str]:
        return op, self._client.locate(self.key)

    @property
    def token(self) -> str:
        """What it is found again by; it opens nothing without credentials."""
        return MARKS[self.sums] + self.name

    async def put_part(self, number: int, data: Buffer, /) -> None:
        """Send one part; see `Upload.put_part`."""
        self._check_open("put_part")
        ask = Ask("put_part", "PUT", self.key, self._query(partNumber=str(number)))
        reply = await send_checked(self._client, self._facts, ask, data)
        self.keep(number, len(data), reply.headers.get("etag", ""), ask.headers.get(CRC))

    def keep(self, number: int, size: int, etag: str, crc: str | None) -> None:
        """Note a part that the service has."""
        checksum = ("ChecksumCRC64NVME", crc) if crc and self.sums != "none" else None
        self._parts[number] = wire.Part(number, etag, checksum)
        self._sizes[number] = size

    async def complete(self) -> ObjectMeta:
        """Join the parts; see `Upload.complete`."""
        self._check_open("complete")
        parts = self._check_parts()
        body = wire.complete_request(parts)
        total = str(sum(self._sizes.values()))
        headers = {
            "content-type": "application/xml",
            "x-amz-mp-object-size": total,  # which the service compares, where it knows of it
            **self._headers,
        }
        crc = self._joined_crc(parts)
        if crc is not None and self.sums == "whole":
            headers |= {CRC: crc, TYPE: "FULL_OBJECT"}
        ask = Ask(
            "complete",
            "POST",
            self.key,
            self._query(),
            headers,
            body=body,
            replayable=False,
            condition=self._condition,
        )
        try:
            reply = await self._client.call(ask)
        except NotFoundError as error:
            if error.url != self._where("complete")[1]:
                raise  # the bucket is gone
            return await self._find(parts, crc, error)
        return self._acknowledged(ask, reply, parts)

    async def abort(self) -> None:
        """Give it up; see `Upload.abort`."""
        if self._over:
            return
        self._over = True
        try:
            await self._client.call(Ask("abort", "DELETE", self.key, self._query()))
        except NotFoundError:
            return  # it had ended already
        except BaseException:
            self._over = False
            raise

    async def leave(self) -> None:
        """See `LastingUpload.leave`: nothing of it is here."""
        self._over = True

    def _check_open(self, op: str) -> None:
        if self._over:
            raise StoreError("the upload has ended").at(*self._where(op))

    def _check_parts(self) -> list[wire.Part]:
        numbers = sorted(self._parts)
        count = len(numbers)
        if not count or numbers != list(range(1, count + 1)):
            raise IntegrityError(
                f"parts 1 to {numbers[-1] if numbers else 1} are to be joined, and "
                f"{count} are there"
            ).at(*self._where("complete"))
        total = sum(self._sizes.values())
        if self._size is not None and total != self._size:
            raise IntegrityError(f"the parts are {total} bytes of {self._size}").at(
                *self._where("complete")
            )
        return [self._parts[number] for number in numbers]

    def _joined_crc(self, parts: list[wire.Part]) -> str | None:
        sums = [(part.checksum[1], self._sizes[part.number]) for part in parts if part.checksum]
        return join_crc64(sums) if len(sums) == len(parts) else None

    def _summed_crc(self, parts: list[wire.Part]) -> str | None:
        sums = [part.checksum[1] for part in parts if part.checksum]
        return sum_up_crc64(sums) if len(sums) == len(parts) else None

    def _acknowledged(self, ask: Ask, reply: Response, parts: list[wire.Part]) -> ObjectMeta:
        try:
            told = wire.fields(reply.body, "CompleteMultipartUploadResult")
        except IntegrityError as error:
            error.outcome = "unknown"
            raise error.at(*self._where("complete")) from None
        if isinstance(told, wire.Fault):
            raise self._client.failed(ask, reply, told)
        etag = quoted(told.get("ETag"))
        if etag is None:
            raise self._unknown("the service joined the parts without telling an ETag")
        checksum = told.get("ChecksumCRC64NVME", "")
        whole = "-" not in checksum
        wanted = self._joined_crc(parts) if whole else self._summed_crc(parts)
        if checksum and wanted is not None and checksum != wanted:
            raise self._unknown("the service joined other bytes than were sent")
        self._over = True
        return ObjectMeta(
            self.key,
            sum(self._sizes.values()),
            etag=etag,
            version=reply.headers.get("x-amz-version-id"),
            checksums={"crc64nvme": checksum} if checksum and whole else {},
        )

    def _unknown(self, message: str) -> IntegrityError:
        return IntegrityError(message, outcome="unknown").at(*self._where("complete"))

    async def _find(self, parts: list[wire.Part], crc: str | None, error: StoreError) -> ObjectMeta:
        """The upload is gone: joined by an earlier try, whose answer was lost, or aborted?"""
        try:
            meta, _ = await head(self._client, self.key, op="complete")
        except NotFoundError:
            raise error from None
        same = meta.etag is not None and meta.etag == _etag_of(parts)
        if meta.size == sum(self._sizes.values()) and (
            same or (crc is not None and meta.checksums.get("crc64nvme") == crc)
        ):
            self._over = True
            return meta
        raise UnavailableError(
            "the upload is gone, and the object that is there is not provably its result",
            outcome="unknown",
        ).at(*self._where("complete"))


def _etag_of(parts: list[wire.Part]) -> str | None:
    """Return the ETag that S3 gives to joined parts whose ETags are MD5s."""
    joined = md5(usedforsecurity=False)
    for part in parts:
        text = part.etag.strip('"')
        if len(text) != _MD5_HEX or text.strip("0123456789abcdef"):
            return None
        joined.update(bytes.fromhex(text))
    return f'"{joined.hexdigest()}-{len(parts)}"'
