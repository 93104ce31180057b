"""The values that pass through the library: spans, objects' metadata, blobs, pages, limits.

Sizes and positions are bytes, times are seconds or aware UTC datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, TypeAlias, cast

from asyncstore.errors import InvalidSpanError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes in memory. A `memoryview` is flat, contiguous and of format `"B"`."""

WRITE_ID = "asyncstore-write-id"
"""Metadata by which a write whose answer was lost is known again; a `Store` does not show it."""

_FURTHEST = 1 << 62

MiB = 1 << 20
GiB = 1 << 30


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of bytes, `[start, stop)`, that means what a Python slice means.

    Args:
        start: first byte; negative counts from the end; `None` is the beginning.
        stop: the byte after the last; negative counts from the end; `None` is the end.

    Raises:
        InvalidSpanError: where either is neither `None` nor an integer.
    """

    start: int | None = None
    stop: int | None = None

    def __post_init__(self) -> None:
        for end in (self.start, self.stop):
            if end is not None and (not isinstance(end, int) or isinstance(end, bool)):
                raise InvalidSpanError(f"a span's ends are integers or None, not {end!r}")

    @classmethod
    def of(cls, value: SpanLike, /) -> Span:
        """Read a span from a `Span`, a `slice` or `range` of step 1, or a `(start, stop)` pair.

        Raises:
            InvalidSpanError: for anything else.
        """
        if isinstance(value, Span):
            return value
        if isinstance(value, slice | range):
            if value.step not in (None, 1):
                raise InvalidSpanError(f"a span has no step: {value!r}")
            return cls(value.start, value.stop)
        if isinstance(value, tuple) and len(value) == 2:  # noqa: PLR2004
            return cls(*value)
        raise InvalidSpanError(f"not a span: {value!r}; write (start, stop) or slice(start, stop)")

    def resolve(self, size: int, /) -> tuple[int, int]:
        """Return `(start, stop)` with `0 <= start <= stop <= size`, as `slice.indices` does."""
        start, stop, _ = slice(self.start, self.stop).indices(size)
        return start, max(start, stop)

    def bounded(self) -> tuple[int, int | None]:
        """Return both ends, no further out than a service reads a number; no object is as long."""
        start = max(-_FURTHEST, min(self.start or 0, _FURTHEST))
        return start, None if self.stop is None else max(-_FURTHEST, min(self.stop, _FURTHEST))

    @property
    def is_whole(self) -> bool:
        """Whether the span is every byte, whatever the size."""
        return self.start in (None, 0) and self.stop is None


SpanLike: TypeAlias = Span | slice | range | tuple[int | None, int | None]

WHOLE = Span()
"""Every byte of an object."""


class ObjectMeta:
    """What a service says of one object.

    Attributes:
        key: its name; through a `Store`, relative to the store's path.
        size: in bytes.
        etag: opaque; names this version of the content. It is what `if_match` takes. S3: the
            ETag with its quotes. Google: the generation. `None` where the service told none.
        version: the service's version id or generation, or `None`.
        content_type: the media type, or `None`.
        metadata: the user's own name-value pairs.
        checksums: algorithm name (`"crc32c"`, `"crc64nvme"`, `"sha256"`, `"md5"`) to base64
            text, each of the whole object's bytes; empty where the service told none.
    """

    __slots__ = (
        "_modified",
        "checksums",
        "content_type",
        "etag",
        "key",
        "metadata",
        "size",
        "version",
    )

    def __init__(
        self,
        key: str,
        size: int,
        *,
        etag: str | None = None,
        version: str | None = None,
        modified: datetime | str | int | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] = {},
        checksums: Mapping[str, str] = {},
    ) -> None:
        self.key = key
        self.size = size
        self.etag = etag
        self.version = version
        self._modified = modified
        self.content_type = content_type
        self.metadata = metadata
        self.checksums = checksums

    @property
    def modified(self) -> datetime | None:
        """When it was last written, in UTC; made on first use from what the service told."""
        if isinstance(self._modified, str):
            self._modified = _parse_time(self._modified)
        elif isinstance(self._modified, int):
            self._modified = datetime.fromtimestamp(self._modified / 1e9, UTC)
        return self._modified

    def replace(self, **changes: Any) -> ObjectMeta:
        """Return a copy with some attributes changed."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in _META_FIELDS}
        fields["modified"] = self._modified
        return ObjectMeta(**(fields | changes))

    def _values(self) -> tuple[Any, ...]:
        return (*(getattr(self, name) for name in _META_FIELDS), self.modified)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectMeta) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ObjectMeta({self.key!r}, {self.size}, etag={self.etag!r})"


_META_FIELDS = tuple(name for name in ObjectMeta.__slots__ if name != "_modified")


def _parse_time(text: str) -> datetime | None:
    try:
        if text[:4].isdigit():
            return datetime.fromisoformat(text).astimezone(UTC)
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - 10 ms, rarely needed

        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None


Later: TypeAlias = "tuple[Callable[..., ObjectMeta], tuple[Any, ...]]"
"""Metadata that is made when somebody looks at it: a function, and what to call it with."""


class Blob:
    """Bytes that were read, and what they are part of.

    Attributes:
        data: supports the buffer protocol; where the caller gave a buffer, a view of it.
        start: the first byte's position in the object.
    """

    __slots__ = ("_meta", "data", "start")

    def __init__(self, data: Buffer, meta: ObjectMeta | Later, *, start: int = 0) -> None:
        self.data = data
        self._meta = meta
        self.start = start

    @property
    def meta(self) -> ObjectMeta:
        """The object's metadata; its `size` is the whole object's."""
        meta = self._meta
        if type(meta) is tuple:
            make, arguments = meta
            meta = self._meta = make(*arguments)
        return cast("ObjectMeta", meta)

    @meta.setter
    def meta(self, meta: ObjectMeta | Later) -> None:
        self._meta = meta

    def __len__(self) -> int:
        return len(self.data)

    def __bytes__(self) -> bytes:
        return bytes(self.data)

    def __repr__(self) -> str:
        return f"Blob({self.meta.key!r}, {self.start}:{self.start + len(self.data)})"


def change_meta(blob: Blob, change: Callable[[ObjectMeta], ObjectMeta], /) -> None:
    """Change a blob's metadata, once somebody looks at it."""
    meta = blob._meta  # noqa: SLF001 - its own
    blob.meta = (_changed, (change, meta)) if type(meta) is tuple else change(blob.meta)


def _changed(change: Callable[[ObjectMeta], ObjectMeta], meta: Later) -> ObjectMeta:
    make, arguments = meta
    return change(make(*arguments))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    Attributes:
        objects: in the service's order; by UTF-8 bytes where `Limits.sorted` says so.
        prefixes: with a delimiter, the common prefixes, each ending in `/`.
        cursor: what continues the listing, or `None` where it is proven complete.
    """

    objects: Sequence[ObjectMeta]
    prefixes: Sequence[str] = ()
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider can take, so that plans fit it; sizes in bytes.

    Attributes:
        put: largest object in one `put`.
        part_min: smallest part of an upload, but for the last.
        part_max: largest part.
        parts: most parts in one upload.
        object_max: largest object.
        delete: most keys in one `delete`.
        segment: longest part of a key between slashes, in UTF-8 bytes.
        parallel_parts: whether parts may be sent at once and in any order.
        metadata: whether objects carry the user's metadata and content type.
        sorted: whether listings ascend by the UTF-8 bytes of the keys.
        engine: whether calls run on the HTTP engine, which needs asyncio and keeps deadlines
            by itself.
    """

    put: int = 5 * GiB
    part_min: int = 5 * MiB
    part_max: int = 5 * GiB
    parts: int = 10_000
    object_max: int = 50_000 * GiB
    delete: int = 1_000
    segment: int = 1_024
    parallel_parts: bool = True
    metadata: bool = True
    sorted: bool = True
    engine: bool = False


class Op(NamedTuple):
    """A call in flight, as layers see it.

    Attributes:
        name: the `Provider` method: `"get"`, `"put"`, `"put_part"` and so on.
        key: the object, or a prefix for a listing.
        write: whether it changes anything.
        idempotent: whether doing it twice ends as doing it once.
        size: bytes to be sent, where known.
    """

    name: str
    key: str
    write: bool = False
    idempotent: bool = True
    size: int | None = None


class Verifier(Protocol):
    """Compares an object's bytes, in order, with what the service says of them."""

    async def add(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        ...

    def verify(self) -> None:
        """Say that these were all; raises `IntegrityError` where they are not the object's."""
        ...


class Stream(Protocol):
    """An object's bytes as they arrive: an async iterator of views, with the metadata.

    A view is valid until the next one is asked for. One may have a `check`: the `Verifier` of
    the whole object, which has seen the bytes handed out so far, or `None`; whoever goes on
    after a cut goes on with it.
    """

    meta: ObjectMeta
    start: int

    def __aiter__(self) -> AsyncIterator[memoryview]:
        """Iterate once."""
        ...

    async def __anext__(self) -> memoryview:
        """Return the next bytes; ends only when the last byte is verified."""
        ...


Durability: TypeAlias = Literal["full", "deferred"]
"""Local writes: flushed to disk before each is acknowledged, or once when the store closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a provider is made from, besides its URL. All optional.

    Attributes:
        creds: the user's `creds=`, of any form that the service takes.
        token: the user's hub token.
        hub_url: the hub's address.
        mode: what the hub is asked for: `"r"` to read, `"w"` to write, `None` what there is.
        endpoint_url: a service's address, in place of its usual one.
        region: the service's region.
        allow_http: let credentials travel over plain HTTP to a host that is not loopback.
        ca_bundle: a PEM file of certificate authorities, in place of the system's.
        checksums: verify and send checksums.
        durability: for local writes.
        connections: most connections to one origin.
        connect_timeout: seconds for DNS, TCP and TLS together; and the longest wait for a
            connection while none of the origin's comes free or moves a byte.
        read_timeout: seconds for the first byte of an answer, once the request is sent.
        least_speed: bytes per second, in either direction, below which a transfer is given up.
        permit: whether to connect to a numeric address, asked after DNS; `None` permits all.
        use_environment: take from the environment the address and the region that `creds` leave
            out.
    """

    creds: Any = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    hub_url: str | None = None
    mode: Literal["r", "w"] | None = None
    endpoint_url: str | None = None
    region: str | None = None
    allow_http: bool = False
    ca_bundle: str | None = None
    checksums: bool = True
    durability: Durability = "full"
    connections: int = 128
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    least_speed: float = 1024.0
    permit: Callable[[str], bool] | None = field(default=None, repr=False)
    use_environment: bool = True

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some attributes changed."""
        from dataclasses import replace  # noqa: PLC0415 - rare

        return replace(self, **changes)
