"""Exit codes: a small table that a script can trust.

A command that works on one thing exits with that thing's code. A command that works on several
goes on after a failure, and exits with `FAILED` if any failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
DENIED = 4
EXISTS = 5
UNAVAILABLE = 6
CORRUPT = 7
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS: Mapping[int, str] = {
    OK: "everything that was asked for was done",
    FAILED: "some of several operations failed, each with a line on stderr; or an error that is "
    "none of those below",
    USAGE: "the command line, a path or the configuration is wrong; nothing was changed",
    NOT_FOUND: "there is no such object, folder, bucket or dataset",
    DENIED: "access denied, credentials unknown or ended, or the store is read-only",
    EXISTS: "something is there already, and is left as it was",
    UNAVAILABLE: "unreachable, too slow or throttled, after retries; try again later",
    CORRUPT: "the bytes are not what they should be, or changed in the middle",
    INTERRUPTED: "interrupted by Ctrl-C; nothing is left half-written",
    BROKEN_PIPE: "the reader of the output went away, as in `asyncstore cat … | head`",
}

_CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], int], ...] = (
    (
        (errors.InvalidPathError, errors.InvalidSpanError, errors.ConfigurationError),
        USAGE,
    ),
    ((errors.NotFoundError, errors.DatasetNotFoundError), NOT_FOUND),
    (
        (errors.UnauthenticatedError, errors.PermissionDeniedError, errors.ReadOnlyError),
        DENIED,
    ),
    (
        (errors.AlreadyExistsError, errors.PreconditionError, errors.DatasetExistsError),
        EXISTS,
    ),
    (errors.TransientError, UNAVAILABLE),
    (
        (errors.IntegrityError, errors.ObjectChangedError, errors.DatasetCorruptError),
        CORRUPT,
    ),
)


def code_of(error: BaseException) -> int:
    """Return the exit code of a command that `error` ended."""
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return code
    return FAILED
