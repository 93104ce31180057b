"""Writes in one request: what is sent along, and what makes an acknowledgement one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asyncstore.errors import (
    ConfigurationError,
    IntegrityError,
    NotSupportedError,
    StoreError,
)
from asyncstore.providers.s3.checksums import compute, quickly
from asyncstore.providers.s3.client import Ask, placed
from asyncstore.providers.s3.reading import quoted
from asyncstore.types import Limits, ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.http import Response
    from asyncstore.providers.s3.capabilities import Facts, Probes
    from asyncstore.providers.s3.client import Client
    from asyncstore.providers.s3.faults import Condition
    from asyncstore.types import Buffer

CRC = "x-amz-checksum-crc64nvme"
PUT_MAX = Limits().put
"""Most bytes in one request."""
_NAME = re.compile(r"[a-z0-9\-]+")


def write_headers(content_type: str | None, metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers that carry a media type and the user's metadata.

    Raises:
        ConfigurationError: S3 could not carry them as they are.
    """
    headers = {}
    if content_type is not None:
        _check_value("content_type", content_type)
        headers["content-type"] = content_type
    for name, value in (metadata or {}).items():
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"metadata names are of a-z, 0-9 and '-', not {name!r}")
        _check_value(f"metadata[{name!r}]", value)
        headers[f"x-amz-meta-{name}"] = value
    return headers


def _check_value(what: str, value: str) -> None:
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise ConfigurationError(f"{what} is printable ASCII without spaces at its ends")


async def condition_headers(
    probes: Probes, kind: str, key: str, *, if_match: str | None, if_absent: bool
) -> tuple[dict[str, str], Condition]:
    """Return the headers of a condition, once the service is known to keep it.

    Args:
        probes: of the bucket.
        kind: `"put"` or `"upload"`.
        key: what is written.
        if_match: as in `Provider.put`.
        if_absent: as in `Provider.put`.

    Raises:
        NotSupportedError: the service ignores it.
    """
    if if_absent and if_match is not None:
        raise ConfigurationError("if_absent and if_match contradict each other; give one")
    if if_absent:
        await probes.require(f"{kind} if_absent", key)
        return {"if-none-match": "*"}, "absent"
    if if_match is not None:
        await probes.require(f"{kind} if_match", key)
        return {"if-match": if_match}, "match"
    return {}, None


async def checksum_headers(facts: Facts, data: Buffer) -> dict[str, str]:
    """Return checksums of a body: CRC-64 where it is understood, MD5 where that is not known."""
    headers = {}
    if facts.crc is not False:
        headers[CRC] = await compute("crc64nvme", data)
    if facts.crc is not True:
        headers["content-md5"] = await compute("md5", data)
    return headers


async def send_checked(client: Client, facts: Facts, ask: Ask, data: Buffer) -> Response:
    """Send bytes with a checksum that the service verifies, and learn which it understands.

    Raises:
        IntegrityError: the acknowledgement lacks an ETag, or tells another checksum.
    """
    given = ask.headers
    ask.body = data
    while True:
        crc = quickly("crc64nvme", data) if facts.crc else None
        if not client.settings.checksums:
            sums = {}
        elif crc is not None:
            sums = {CRC: crc}
        else:
            sums = await checksum_headers(facts, data)
        ask.headers = {**given, **sums}
        unsure = facts.crc is None and CRC in sums
        try:
            reply = await client.accepted(ask, await client.send(ask))
        except StoreError as error:
            placed(error, ask.op, client.locate(ask.key))
            if unsure and facts.crc is None and error.status in (400, 501) and _is_about(error):
                facts.crc = False  # and this request was not carried out
                continue
            raise
        acknowledged = reply.headers.get(CRC)
        if unsure:
            facts.crc = acknowledged is not None
        if acknowledged is not None and CRC in sums and acknowledged != sums[CRC]:
            raise _unsure(client, ask, "the service stored other bytes than were sent", reply)
        if not reply.headers.get("etag"):
            raise _unsure(client, ask, "the service acknowledged the write without an ETag", reply)
        return reply


def _is_about(error: StoreError) -> bool:
    text = error.message.lower()
    return isinstance(error, NotSupportedError) or "checksum" in text or "header" in text


def _unsure(client: Client, ask: Ask, message: str, reply: Response) -> IntegrityError:
    return IntegrityError(
        message,
        status=reply.status,
        request_id=reply.headers.get("x-amz-request-id"),
        outcome="unknown",
    ).at(ask.op, client.locate(ask.key))


async def put(
    client: Client,
    probes: Probes,
    key: str,
    data: Buffer,
    *,
    if_match: str | None,
    if_absent: bool,
    content_type: str | None,
    metadata: Mapping[str, str] | None,
) -> ObjectMeta:
    """Write a whole object; see `Provider.put`."""
    try:
        if len(data) > PUT_MAX:
            raise NotSupportedError(
                f"{len(data)} bytes in one request, of at most {PUT_MAX}; upload parts"
            )
        headers = write_headers(content_type, metadata)
        condition: Condition = None
        if if_absent or if_match is not None:
            more, condition = await condition_headers(
                probes, "put", key, if_match=if_match, if_absent=if_absent
            )
            headers |= more
        ask = Ask(
            "put", "PUT", key, headers=headers, replayable=condition is None, condition=condition
        )
        reply = await send_checked(client, probes.known() or await probes.facts(), ask, data)
    except StoreError as error:
        placed(error, "put", client.locate(key))
        raise
    crc = ask.headers.get(CRC)
    return ObjectMeta(
        key,
        len(data),
        etag=quoted(reply.headers.get("etag")),
        version=reply.headers.get("x-amz-version-id"),
        content_type=content_type,
        metadata=dict(metadata) if metadata else {},
        checksums={"crc64nvme": crc} if crc else {},
    )
