"""What `doctor` tells of Google Cloud Storage: who, from where, which place, which clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from asyncstore.errors import ConfigurationError, StoreError
from asyncstore.providers.gcs.sdk import storage
from asyncstore.wire import gcs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncstore.providers.gcs.exchange import GoogleToken
    from asyncstore.providers.gcs.session import Session


def _named(kind: str) -> str:
    return "uploads gone on with" if kind == "resume" else f"conditions of {kind}"


async def diagnose(
    session: Session, bucket: str, capabilities: Mapping[str, bool | str]
) -> dict[str, Any]:
    """Return facts as JSON values; see `Diagnoses.diagnose`."""
    token = await session.token()
    facts: dict[str, Any] = {
        "identity": await _identity(session, token),
        "source": getattr(session.source, "place", session.place),
        "expires_at": None if token.expires_at is None else _iso(token.expires_at),
        "endpoint": str(session.origin),
        "region": None,
        "capabilities": {_named(kind): known for kind, known in capabilities.items()},
    }
    before = time.time()
    reply = await session.send(
        "GET", gcs.list_target(bucket, "", page_token=None, after=None, delimiter=False, limit=1)
    )
    facts["clock_drift"] = _drift(reply.headers.get("date"), (before + time.time()) / 2)
    try:
        facts["region"] = await _location(session, bucket)
    except StoreError as error:
        # Reading a bucket's description is a right of its own, which objects do not need.
        facts["region"] = f"unknown ({type(error).__name__})"
    return facts


async def _identity(session: Session, token: GoogleToken) -> str:
    """Return the account's address, or the kind of credentials where they name no account."""
    try:
        return (await session.source.account()).email
    except ConfigurationError:
        return token.identity


async def _location(session: Session, bucket: str) -> str | None:
    client = await asyncio.to_thread(storage, session)
    described = await client.get_bucket_metadata(bucket)
    place = described.get("location")
    return place if isinstance(place, str) else None


def _drift(date: str | None, now: float) -> float | None:
    """Return by how many seconds our clock is ahead of the service's."""
    try:
        # The header has whole seconds: on average half a one has passed since.
        return round(now - parsedate_to_datetime(date or "").timestamp() - 0.5, 1)
    except (ValueError, TypeError):
        return None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
