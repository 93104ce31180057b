"""What can go wrong, as types. Everything the library raises on purpose is a `StoreError`.

An error says what was tried (`op`), on what (`url`), what is known of the outcome, and what to do.
It pickles with its attributes and holds no secret: whoever raises one puts none in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Outcome: TypeAlias = Literal["not_applied", "applied", "unknown"]
"""What is known of a failed write: it did not happen, it did, or nobody can tell."""


class StoreError(Exception):
    """An operation on a store failed.

    Attributes:
        message: what happened, without the place.
        op: the call that failed, such as `"get"`; `None` where there is none.
        url: the object or store, such as `"s3://bucket/key"`, without query or credentials.
        status: the HTTP status, where a service answered.
        request_id: the service's own name for the request, for its support desk.
        outcome: what is known of a failed write.
        retryable: whether the same call may succeed later with nothing changed.
        attempts: how many requests were made for it.
    """

    retryable: ClassVar[bool] = False
    attempts: int = 1

    def __init__(
        self,
        message: str = "",
        *,
        op: str | None = None,
        url: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        outcome: Outcome = "not_applied",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.op = op
        self.url = url
        self.status = status
        self.request_id = request_id
        self.outcome: Outcome = outcome

    def at(self, op: str, url: str) -> Self:
        """Say where the error happened, unless it is known already, and return the error."""
        if self.op is None:
            self.op = op
        if self.url is None:
            self.url = url
        return self

    def __str__(self) -> str:
        place = " ".join(part for part in (self.op, self.url) if part)
        text = f"{place}: {self.message}" if place else self.message
        if self.request_id:
            text += f" [request {self.request_id}]"
        if self.attempts > 1:
            text += f" [{self.attempts} attempts]"
        return _printable(text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[..., StoreError], tuple[Any, ...]]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[StoreError], args: tuple[Any, ...], state: dict[str, Any]) -> StoreError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _printable(text: str) -> str:
    """Escape control characters: a key's name must not drive the reader's terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class NotFoundError(StoreError, FileNotFoundError):
    """There is no such object or bucket, and the service said so; forbidden is not absent."""


class AlreadyExistsError(StoreError, FileExistsError):
    """A create-only write found an object in its place, which is left as it was."""


class PreconditionError(StoreError):
    """The object is not the version that `if_match` asked for; nothing was written."""


class ObjectChangedError(StoreError):
    """The object was replaced, or a source file changed, in the middle of the operation."""


class UnauthenticatedError(StoreError, PermissionError):
    """The service does not know the identity: wrong, missing or ended credentials."""


class PermissionDeniedError(StoreError, PermissionError):
    """The service knows the identity and refuses it the operation."""


class ReadOnlyError(StoreError, PermissionError):
    """A write was asked of something opened read-only; nothing was sent."""


class InvalidPathError(StoreError, ValueError):
    """A path or key that no store takes, or that would mean another place; nothing was sent."""


class InvalidSpanError(StoreError, ValueError):
    """A span that means no range of bytes; nothing was sent."""


class NotSupportedError(StoreError, NotImplementedError):
    """The service, or this installation, cannot do it; the message says what would."""


class IntegrityError(StoreError):
    """The bytes, their number or their checksum are not what the service said they are."""


class ConfigurationError(StoreError, ValueError):
    """Credentials, options or environment are wrong; the message says what to write instead."""


class TransientError(StoreError):
    """The call failed for a reason that passes; the library has tried again already."""

    retryable = True


class ThrottledError(TransientError):
    """Too many requests; `retry_after` is the service's hint, in seconds, or `None`."""

    retry_after: float | None = None

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, **where: Any
    ) -> None:
        super().__init__(message, **where)
        self.retry_after = retry_after


class UnavailableError(TransientError):
    """The service could not be reached, cut the connection or answered 5xx.

    `retry_after` is the service's hint, in seconds, or `None`.
    """

    retry_after: float | None = None

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, **where: Any
    ) -> None:
        super().__init__(message, **where)
        self.retry_after = retry_after


class DeadlineError(TransientError, TimeoutError):
    """The operation, or one attempt of it, did not end in the time it was given."""


class DatasetError(StoreError):
    """A dataset, not one object, is the trouble."""


class DatasetNotFoundError(DatasetError):
    """No dataset is at the path."""


class DatasetExistsError(DatasetError):
    """A dataset, or other files, are at the path already; they are left as they were."""


class DatasetCorruptError(DatasetError):
    """The dataset's own files contradict themselves or cannot be read."""


class DatasetLockedError(DatasetError):
    """Another process holds the dataset's lock."""


class BatchError(ExceptionGroup[StoreError]):
    """Some of many objects failed; `exceptions` has one `StoreError` for each."""

    def derive(self, excs: Sequence[StoreError], /) -> BatchError:  # type: ignore[override]
        """Make a group of the same kind, for `split` and `except*`."""
        return BatchError(self.message, excs)


__all__ = [
    "AlreadyExistsError",
    "BatchError",
    "ConfigurationError",
    "DatasetCorruptError",
    "DatasetError",
    "DatasetExistsError",
    "DatasetLockedError",
    "DatasetNotFoundError",
    "DeadlineError",
    "IntegrityError",
    "InvalidPathError",
    "InvalidSpanError",
    "NotFoundError",
    "NotSupportedError",
    "ObjectChangedError",
    "Outcome",
    "PermissionDeniedError",
    "PreconditionError",
    "ReadOnlyError",
    "StoreError",
    "ThrottledError",
    "TransientError",
    "UnauthenticatedError",
    "UnavailableError",
]
