"""The contract between the library and a storage service.

Whoever adds a service implements `Provider` in one file, adds one line to `registry`, and lets
`asyncstore.testing.ProviderContract` say whether it works. A provider does what it is told, once:
it does not retry, cache, limit or log; layers do. Keys come validated, whole in their bucket
(without the store's prefix taken off), but a provider must survive any key that a listing of
its own returned.

Every method raises `StoreError`s only, with `op` and `url` set and `outcome` true to what the
provider knows, and may be cancelled at any await, leaving nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from asyncstore.errors import StoreError
    from asyncstore.types import Blob, Buffer, Limits, ObjectMeta, Page, Span, Stream, Verifier

A = TypeVar("A")


class Upload(Protocol):
    """An object on its way in parts. Nothing is visible before `complete` has returned."""

    async def put_part(self, number: int, data: Buffer, /) -> None:
        """Send one part.

        Args:
            number: from 1, without gaps. Where `Limits.parallel_parts` is false, parts come
                one after another, in order.
            data: between `Limits.part_min` and `Limits.part_max` bytes; the last may be less.
        """
        ...

    async def complete(self) -> ObjectMeta:
        """Join parts 1 to n into the object.

        Raises:
            AlreadyExistsError, PreconditionError: as in `Provider.put`.
            IntegrityError: where a part is missing, or the service joined something else.
        """
        ...

    async def abort(self) -> None:
        """Give the upload up and free what the service keeps of it; twice is as once."""
        ...


class Provider(Protocol):
    """One bucket, folder or memory of a storage service."""

    @property
    def limits(self) -> Limits:
        """What it can take; may become more when more is known of the service."""
        ...

    def locate(self, key: str, /) -> str:
        """Return the URL of a key, such as `"s3://bucket/key"`, for messages."""
        ...

    async def head(self, key: str, /) -> ObjectMeta:
        """Return an object's metadata.

        Raises:
            NotFoundError: where the service says there is no such object or bucket.
        """
        ...

    async def get(
        self,
        key: str,
        /,
        *,
        span: Span = ...,
        into: memoryview | None = None,
        if_match: str | None = None,
        most: int | None = None,
    ) -> Blob:
        """Read an object or a span of it; a span past the end reads what there is, maybe nothing.

        Args:
            key: the object.
            span: which bytes; see `Span`.
            into: where the bytes go; the blob's `data` is then a view of its beginning.
            if_match: an `ObjectMeta.etag`; read this version or none.
            most: where more bytes than this would come, read none of them: the blob is empty,
                and its `meta` says how large the object is, so that it can be read in parts.

        Raises:
            NotFoundError: no such object.
            ObjectChangedError: the object is not the version of `if_match`.
            InvalidSpanError: `into` is too small for what `span` asks.
            IntegrityError: a checksum or the length is wrong.
        """
        ...

    def open(
        self, key: str, /, *, span: Span = ..., if_match: str | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """Read an object, or a span of it, as it arrives; errors as in `get`."""
        ...

    async def put(
        self,
        key: str,
        data: Buffer,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectMeta:
        """Write a whole object in one request; it is there, whole, when this returns.

        Args:
            key: the object.
            data: its bytes, at most `Limits.put`.
            if_match: replace only the version with this `ObjectMeta.etag`.
            if_absent: create only.
            content_type: the media type.
            metadata: name-value pairs; names are lower-case `[a-z0-9-]`, values printable ASCII.

        Raises:
            AlreadyExistsError: `if_absent`, and there is one.
            PreconditionError: `if_match`, and it is another version or none.
            NotSupportedError: the service lacks what was asked for; nothing was written.
        """
        ...

    async def begin_upload(
        self,
        key: str,
        /,
        *,
        size: int | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Upload:
        """Begin to write an object in parts; conditions hold at `Upload.complete`.

        Args:
            key: the object.
            size: the whole object's bytes, where known.
            if_match: as in `put`.
            if_absent: as in `put`.
            content_type: as in `put`.
            metadata: as in `put`.
        """
        ...

    async def copy(
        self,
        source: str,
        target: str,
        /,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectMeta:
        """Copy an object within the provider, at the service, of any size; returns the new one.

        Args:
            source: the object to copy, with its metadata.
            target: where to.
            if_match: copy only this version of the source.
            if_absent: create the target only.

        Raises:
            NotFoundError: no source.
            ObjectChangedError: the source is not the version of `if_match`, or changed meanwhile.
            AlreadyExistsError: `if_absent`, and there is a target.
        """
        ...

    async def delete(self, keys: Sequence[str], /) -> Mapping[str, StoreError]:
        """Delete up to `Limits.delete` objects; return the error of each that failed.

        A missing object counts as deleted. Raises only where the whole call failed.
        """
        ...

    async def list_page(
        self,
        prefix: str,
        /,
        *,
        cursor: str | None = None,
        after: str | None = None,
        delimiter: bool = False,
        limit: int = 1000,
    ) -> Page:
        """List keys that begin with `prefix`; an absent prefix is an empty page.

        Args:
            prefix: a beginning of keys, not a folder: `"a"` lists `a`, `a/b` and `ab`.
            cursor: a previous page's `Page.cursor`, with the other arguments unchanged.
            after: list only keys after this one, in the service's order.
            delimiter: fold keys with a further `/` behind the prefix into `Page.prefixes`.
            limit: most objects and prefixes on the page, 1 to 1,000.

        Raises:
            NotFoundError: no such bucket.
            IntegrityError: the listing contradicts itself, and cannot be proven complete.
        """
        ...

    async def aclose(self) -> None:
        """Free everything; twice is as once. Local: flush what was deferred."""
        ...


@runtime_checkable
class Presigns(Protocol):
    """Ability: make URLs that work without credentials for a while."""

    async def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT", "HEAD", "DELETE"] = "GET",
        expires: float = 900.0,
        content_type: str | None = None,
    ) -> str:
        """Return a URL for one `method` on `key`, good for `expires` seconds (7 days at most).

        The URL is a secret: it carries a signature.

        Raises:
            ConfigurationError: `expires` is out of range, or the credentials cannot sign.
        """
        ...


@runtime_checkable
class Moves(Protocol):
    """Ability: give an object another key without copying it."""

    async def move(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectMeta:
        """Return the metadata of an object under its new key.

        Who looks meanwhile finds it whole, under one key or the other; create-only, for a moment
        under both.

        Raises:
            NotFoundError: no source.
            AlreadyExistsError: `if_absent`, and there is a target.
            NotSupportedError: not from this key to that one; nothing was changed.
        """
        ...


@runtime_checkable
class MovesPrefix(Protocol):
    """Ability: rename everything under a prefix at once, atomically."""

    async def move_prefix(self, source: str, target: str, /) -> None:
        """Rename folder `source` to `target`, neither with a slash at its end.

        Raises:
            NotFoundError: nothing is under `source`.
            AlreadyExistsError: something is at `target`.
        """
        ...


@runtime_checkable
class Verifies(Protocol):
    """Ability: compare an object's bytes with checksums that its metadata does not have."""

    async def verifier(self, meta: ObjectMeta, /) -> Verifier | None:
        """Return what takes all the bytes of a version, in order; `None` where nothing is told.

        Args:
            meta: of the version; it has no checksum of the whole.

        Raises:
            StoreError: as in `Provider.head`.
        """
        ...


class LastingUpload(Upload, Protocol):
    """An upload that outlives this process, unless it is aborted."""

    @property
    def token(self) -> str:
        """What names it in a later `resume_upload`; it may change with every part.

        It may be as good as a credential: it is in no log and no message.
        """
        ...

    async def leave(self) -> None:
        """Free what this process holds, and leave the upload to a later `resume_upload`.

        No part may be under way. Neither `complete` nor `abort` may follow.
        """
        ...


class Resumed(NamedTuple):
    """An upload to go on with.

    Attributes:
        upload: parts that are present are not put again.
        present: numbers of the parts that are there; where parts come one after another, the
            first ones.
    """

    upload: LastingUpload
    present: frozenset[int]


@runtime_checkable
class ResumesUploads(Protocol):
    """Ability: go on with an upload that another process began and did not end."""

    async def resume_upload(
        self,
        key: str,
        token: str,
        /,
        *,
        size: int,
        part: int,
        sums: Mapping[int, int],
        check: Callable[[Buffer], int],
        if_absent: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Resumed:
        """Return an upload to go on with, or a new one where there is none of that name.

        Args:
            key: the object to be.
            token: of an earlier upload for the same object, after the last part that was put
                and recorded; or `""` for a new upload.
            size: of the whole, in bytes.
            part: bytes of each part, but for the last.
            sums: checksums of the parts that were sent, by number.
            check: computes such a checksum, where the provider must look for itself.
            if_absent: as in `Provider.put`; it holds at `Upload.complete`.
            content_type: as in `Provider.put`; of a new upload.
            metadata: as in `Provider.put`; of a new upload.
        """
        ...

    async def drop_uploads(self, key: str, /, *, token: str, since: float) -> None:
        """Give up an upload, without going on with it.

        Args:
            key: the object that it was to be.
            token: its name, or `""` where a kill came before anybody learnt it.
            since: when it was begun, in seconds since 1970; for what has no name.
        """
        ...


@runtime_checkable
class Flushes(Protocol):
    """Ability: bring to the disk what was acknowledged before it was there."""

    async def flush(self) -> None:
        """Return when everything that was written so far outlives a power cut.

        Raises:
            StoreError: something did not reach the disk.
        """
        ...


@runtime_checkable
class PutsGroup(Protocol):
    """Ability: write many small objects for little more than the cost of one call."""

    async def put_group(
        self, items: Sequence[tuple[str, Buffer]], /
    ) -> Sequence[ObjectMeta | None]:
        """Write whole objects, each as `Provider.put` does, and independent of the others.

        Args:
            items: keys, no two alike, and their bytes.

        Returns:
            What was written, in the same order; `None` for an object that has to be put alone,
            which may succeed, or tells why not.
        """
        ...


class Asked(NamedTuple):
    """A whole object that is to be read.

    Attributes:
        key: the object.
        if_match, most: as in `Provider.get`.
        token: whatever the asker knows it by.
    """

    key: str
    if_match: str | None
    most: int | None
    token: Any


class Started(Protocol):
    """A read under way that no task waits for.

    Attributes:
        asked: what was asked for.
        note: whatever the asker puts there.
    """

    asked: Asked
    note: Any

    def abandon(self) -> None:
        """Give it up: nobody is told of its end any more."""
        ...

    async def settle(self) -> Blob:
        """Return what it takes more than its answer to know, once that came.

        Errors as in `Provider.get`, whose first try this is.
        """
        ...


@runtime_checkable
class StartsReads(Protocol):
    """Ability: read whole objects without a task for each."""

    def start_gets(
        self,
        asked: Sequence[Asked],
        ended: Callable[[Any, Blob | None], None],
        /,
        *,
        deadline: float | None = None,
    ) -> Sequence[Started]:
        """Begin to read objects, each as `Provider.get` does.

        Args:
            asked: objects.
            ended: told of the end of a read, from a callback of the event loop: of what was
                read, or of `None` where `Started.settle` is to be awaited. It raises nothing.
            deadline: in `time.monotonic()` seconds, or `None`.

        Returns:
            The reads of the first ones. The others cannot begin at once, as `get` does then.
        """
        ...


@runtime_checkable
class Diagnoses(Protocol):
    """Ability: tell what would be used and what the service supports, for `doctor`."""

    async def diagnose(self) -> Mapping[str, Any]:
        """Return facts as JSON values, without secrets.

        Keys, where they apply: `identity` (masked), `source` (where the credentials come from),
        `expires_at` (ISO 8601), `endpoint`, `region`, `clock_drift` (seconds by which this
        machine's clock is ahead of the service's), `capabilities` (name to `True`, `False` or
        text; `"not tried"` where nobody has needed to know yet).
        """
        ...


@runtime_checkable
class TriesWrites(Protocol):
    """Ability: find out what `Diagnoses` calls `"not tried"`, by writing."""

    async def try_writes(self, prefix: str, /) -> None:
        """Try what depends on the service, on objects of names that nobody has; remove them.

        Args:
            prefix: of the names, `""` or ending in `/`.

        Raises:
            StoreError: a write was refused or failed.
        """
        ...


def passes_on(provider: Any, protocol: type[Any], /) -> bool:
    """Say whether the provider beneath the layers has an ability, whose calls they all pass on."""
    while (inner := getattr(provider, "inner", None)) is not None:
        provider = inner
    return isinstance(provider, protocol)


def ability(provider: Any, protocol: type[A], /) -> A | None:
    """Return the first of `provider` and what its layers wrap that has the ability, or `None`."""
    while provider is not None:
        if isinstance(provider, protocol):
            return provider
        provider = getattr(provider, "inner", None)
    return None
