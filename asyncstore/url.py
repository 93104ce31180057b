"""Paths and keys: what the user wrote, read once, at the door.

A `StoreURL` says which service, which bucket and which prefix in it. A key names one object
below it. The rules for keys are one set for every service, so that a dataset that is legal on
one can be copied to every other, and no key can mean another place than the one it says.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from asyncstore.errors import InvalidPathError

if TYPE_CHECKING:
    from collections.abc import Sequence

PathLike: TypeAlias = "str | os.PathLike[str] | StoreURL"

KEY_BYTES = 1024
"""Longest key, in UTF-8 bytes: what S3 and Google Cloud Storage allow."""

_ALIASES = {"s3": "s3", "gcs": "gcs", "gs": "gcs", "gcp": "gcs", "mem": "mem", "hub": "hub"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+):(/*)")
_BUCKET = {
    "s3": re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]"),
    "gcs": re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9._\-]{1,220}[a-z0-9]"),
    "mem": re.compile(r"[A-Za-z0-9._\-]+"),
    "hub": re.compile(r"[A-Za-z0-9_\-]+"),
}
_BUCKET_RULE = {
    "s3": "3 to 63 of a-z, 0-9, '.' and '-'",
    "gcs": "3 to 222 of a-z, 0-9, '.', '_' and '-'",
    "mem": "letters, digits, '.', '_' and '-'",
    "hub": "letters, digits, '_' and '-'",
}


@dataclass(frozen=True, slots=True)
class StoreURL:
    """Where a store or dataset lives.

    Attributes:
        scheme: `"s3"`, `"gcs"`, `"file"`, `"mem"` or `"hub"`; aliases are resolved.
        bucket: the bucket, the name of a memory store or the hub organisation; `""` for files.
        path: the prefix in it without slashes at its ends; for files, the absolute path.
    """

    scheme: str
    bucket: str
    path: str

    @classmethod
    def parse(cls, path: PathLike, /) -> StoreURL:
        """Read a path as a user writes it. No I/O, but `~` and the working directory are used.

        Takes `s3://bucket/prefix`, `gcs://`, `gs://`, `gcp://`, `mem://name`, `hub://org/set`,
        `file:///abs/path` (percent-decoded), plain and `~` paths, and `os.PathLike`.

        Raises:
            InvalidPathError: says what is wrong and what would be right.
        """
        if isinstance(path, StoreURL):
            return path
        text = os.fspath(path)
        if not isinstance(text, str) or not text:
            raise InvalidPathError(f"a path is a non-empty text, not {path!r}")
        _check_text(text, "path")
        found = _SCHEME.match(text) if isinstance(path, str) else None
        if found is None:
            return cls("file", "", _absolute(text))
        scheme, slashes = found[1].lower(), found[2]
        if scheme == "file":
            return _parse_file(text, text[found.end(1) + 1 :])
        if scheme not in _ALIASES:
            raise InvalidPathError(
                f"{_shown(scheme, text)}: unknown scheme {scheme!r}; known are s3://, "
                "gcs:// (gs://, gcp://), file://, mem://, hub:// and plain paths (write ./ before "
                "a local name with ':')"
            )
        if slashes != "//":
            raise InvalidPathError(
                f"{_shown(scheme, text)}: write {scheme}://, with exactly two slashes"
            )
        return _parse_remote(text, _ALIASES[scheme], text[found.end() :])

    @property
    def name(self) -> str:
        """The last part of the path, or the bucket where there is no path."""
        return self.path.rsplit("/", 1)[-1] or self.bucket

    @property
    def prefix(self) -> str:
        """What precedes every key below this URL in its bucket: `""`, or ends in `/`."""
        return f"{self.path}/" if self.path and self.scheme != "file" else ""

    def join(self, key: str, /) -> StoreURL:
        """Return the URL of a key or folder below this one.

        Raises:
            InvalidPathError: where `key` is not a legal key.
        """
        check_key(key)
        path = f"{self.path.rstrip('/')}/{key}" if self.path else key
        return StoreURL(self.scheme, self.bucket, path)

    @property
    def parent(self) -> StoreURL:
        """The URL one part shorter.

        Raises:
            InvalidPathError: at a bucket's root.
        """
        head, _, last = self.path.rpartition("/")
        if not last:
            raise InvalidPathError(f"{self} has no parent")
        if self.scheme == "file":
            head = head or "/"
        return StoreURL(self.scheme, self.bucket, head)

    def __str__(self) -> str:
        if self.scheme == "file":
            return self.path
        return (
            f"{self.scheme}://{self.bucket}/{self.path}"
            if self.path
            else (f"{self.scheme}://{self.bucket}")
        )


def organization_of(path: PathLike, /) -> str | None:
    """Return the organisation's name where a path is `hub://organisation` and no more."""
    found = _ORGANIZATION.fullmatch(path) if isinstance(path, str) else None
    return None if found is None else found[1]


_ORGANIZATION = re.compile(r"(?i:hub)://([A-Za-z0-9_\-]+)/?")


def check_key(key: str, /) -> str:
    """Return `key` if every service can hold it under exactly this name.

    A key is 1 to 1,024 UTF-8 bytes of parts joined by single slashes. No part is empty, `.` or
    `..`; there is no backslash, control character or lone surrogate.

    Raises:
        InvalidPathError: says which rule is broken.
    """
    if not isinstance(key, str):
        raise InvalidPathError(f"a key is a text, not {type(key).__name__}")
    if len(key) <= KEY_BYTES and _is_plain(key):
        return key
    if not key:
        raise InvalidPathError("a key is not empty")
    _check_text(key, "key")
    if len(key.encode()) > KEY_BYTES:
        raise InvalidPathError(f"key of {len(key.encode())} bytes; the limit is {KEY_BYTES}")
    if "\\" in key:
        raise InvalidPathError(f"key {key!r} has a backslash, which some services turn into '/'")
    for part in key.split("/"):
        if part in ("", ".", ".."):
            what = "an empty part" if not part else f"a part {part!r}"
            raise InvalidPathError(f"key {key!r} has {what}; write parts joined by single '/'")
    return key


def are_plain(keys: Sequence[str], /) -> bool:
    """Whether some keys are surely what `check_key` lets pass: most are, and this is quick."""
    if max(map(len, keys)) > KEY_BYTES:
        return False
    lines = "\n".join(keys)
    return lines.count("\n") < len(keys) and _are_plain(lines) is not None


# Most keys are of ASCII's characters, and one match says so; a part never begins with a dot here.
_PART = r"[ -\-0-\[\]-~][ -.0-\[\]-~]*+"
_KEY = rf"{_PART}(?:/{_PART})*+"
_is_plain = re.compile(_KEY).fullmatch
_are_plain = re.compile(rf"{_KEY}(?:\n{_KEY})*+").fullmatch


def check_listed(key: str, /) -> str:
    """Return a key that a service has listed, if it can be taken for no other on its way there.

    Others may have made what no store writes here, such as a folder's marker, `folder/`.

    Raises:
        InvalidPathError: a part of it is `.` or `..`, or it is empty.
    """
    if not key or any(part in (".", "..") for part in key.split("/")):
        raise InvalidPathError(f"key {key!r} could be taken for another")
    return key


def check_prefix(prefix: str, /) -> str:
    """Return `prefix` if it is `""` or begins some legal key; it may end in `/` or in mid-part.

    Raises:
        InvalidPathError: where no legal key begins so.
    """
    if not isinstance(prefix, str):
        raise InvalidPathError(f"a prefix is a text, not {type(prefix).__name__}")
    if prefix:
        whole = prefix.removesuffix("/")
        if whole.rpartition("/")[2] in (".", "..") and not prefix.endswith("/"):
            whole += "_"  # `a/.` begins `a/.hidden`
        check_key(whole)
    return prefix


def check_segments(key: str, longest: int, /) -> None:
    """Refuse a part of more than `longest` UTF-8 bytes, which a file system could not name.

    Raises:
        InvalidPathError: names the limit.
    """
    if len(key) * 4 > longest and any(len(p.encode()) > longest for p in key.split("/")):
        raise InvalidPathError(f"key {key!r} has a part of more than {longest} bytes")


def _check_text(text: str, what: str) -> None:
    for c in text:
        if c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" or "\x80" <= c <= "\x9f":
            raise InvalidPathError(f"{what} {text!r} has the character {c!r}, which no store takes")


def _shown(scheme: str, text: str) -> str:
    """Quote a path for a message, unless it may hold a password or a signature."""
    return f"{scheme}:…" if "@" in text or "?" in text else repr(text)


def _absolute(text: str) -> str:
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise InvalidPathError(f"{text!r}: no such user; write ./{text} for a local name with '~'")
    return os.path.abspath(expanded)


def _parse_file(text: str, rest: str) -> StoreURL:
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise InvalidPathError(f"{text!r}: write file:///absolute/path, or a plain path")
        rest = slash + path
    if not rest.startswith("/"):
        raise InvalidPathError(f"{text!r}: write file:///absolute/path, or a plain path")
    try:
        decoded = unquote(rest, errors="strict")
    except UnicodeDecodeError:
        raise InvalidPathError(f"{text!r}: its percent-escapes are not UTF-8") from None
    _check_text(decoded, "path")
    return StoreURL("file", "", os.path.abspath(decoded))


def _parse_remote(text: str, scheme: str, rest: str) -> StoreURL:
    bucket, _, path = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        # Not shown: it may be a secret.
        raise InvalidPathError(
            f"{scheme}://…: before its first '/' a path has a name, and neither credentials nor an "
            "address with a port; those are for creds= and endpoint_url="
        )
    if not _BUCKET[scheme].fullmatch(bucket):
        what = "organisation" if scheme == "hub" else "bucket"
        raise InvalidPathError(f"{text!r}: a {what} is {_BUCKET_RULE[scheme]}, not {bucket!r}")
    path = path.removesuffix("/")
    if path:
        check_key(path)
    if scheme == "hub" and not path:
        raise InvalidPathError(f"{text!r}: write hub://organisation/dataset")
    return StoreURL(scheme, bucket, path)
