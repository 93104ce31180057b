"""Deletes: many keys in one request, and each key's own answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from asyncstore.errors import (
    IntegrityError,
    NotFoundError,
    NotSupportedError,
    StoreError,
    UnauthenticatedError,
)
from asyncstore.providers.s3.checksums import compute
from asyncstore.providers.s3.client import Ask
from asyncstore.wire import s3 as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncstore.providers.s3.capabilities import Facts
    from asyncstore.providers.s3.client import Client

_AT_ONCE = 16


async def delete(client: Client, facts: Facts, keys: Sequence[str]) -> Mapping[str, StoreError]:
    """Delete objects; see `Provider.delete`."""
    errors: dict[str, StoreError] = {}
    wanted = list(dict.fromkeys(keys))
    together = [key for key in wanted if wire.can_be_named(key)] if len(wanted) > 1 else []
    if together and facts.delete_many:
        try:
            errors |= await _delete_many(client, together)
        except NotSupportedError:
            facts.delete_many = False
    if not facts.delete_many:
        together = []
    named = set(together)
    errors |= await _delete_each(client, [key for key in wanted if key not in named])
    return errors


async def _delete_many(client: Client, keys: list[str]) -> dict[str, StoreError]:
    body = wire.delete_request(keys)
    headers = {"content-type": "application/xml", "content-md5": await compute("md5", body)}
    ask = Ask("delete", "POST", None, "delete=", headers, body=body)
    reply = await client.call(ask)
    try:
        told = wire.deletions(reply.body)
    except IntegrityError as error:
        error.outcome = "unknown"
        raise error.at("delete", client.locate(None)) from None
    if isinstance(told, wire.Fault):
        raise client.failed(ask, reply, told)
    errors: dict[str, StoreError] = {}
    for key in keys:
        fault = told.get(key)
        if fault is None:
            errors[key] = IntegrityError(
                "the service did not say whether the object was deleted", outcome="unknown"
            ).at("delete", client.locate(key))
        elif fault.code and fault.code != "NoSuchKey":
            # The code, which comes without a status here, says what kind of refusal it is.
            denied = fault.code in ("AccessDenied", "AllAccessDisabled")
            status = 403 if denied else reply.status
            errors[key] = client.failed(Ask("delete", "DELETE", key), reply, fault, status)
    return errors


async def _delete_each(client: Client, keys: list[str]) -> dict[str, StoreError]:
    errors: dict[str, StoreError] = {}
    todo = iter(keys)

    async def work() -> None:
        for key in todo:
            error = await _delete_one(client, key)
            if error is not None:
                errors[key] = error
                if _is_of_all(error):
                    return

    if len(keys) == 1:
        await work()
    elif keys:
        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_ONCE, len(keys))):
                tasks.start_soon(work)
    for error in errors.values():
        if _is_of_all(error) or (len(keys) == 1 and error.retryable):
            raise error
    return errors


async def _delete_one(client: Client, key: str) -> StoreError | None:
    try:
        await client.call(Ask("delete", "DELETE", key))
    except NotFoundError as error:
        # Without an object it is done; without a bucket it is a mistake.
        return None if error.url == client.locate(key) else error
    except StoreError as error:
        return error
    return None


def _is_of_all(error: StoreError) -> bool:
    """Whether no other key would fare better."""
    return isinstance(error, NotFoundError | UnauthenticatedError)
