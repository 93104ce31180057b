"""Credential access boundaries, read and enforced as Google documents them.

Of the expressions, which are in the Common Expression Language, those are understood that test
beginnings: of the resource's name, and of what a listing asks for. Anything else is refused.

Source: https://cloud.google.com/iam/docs/downscoping-short-lived-credentials.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES = 10

_READS = frozenset({"storage.objects.get", "storage.objects.list"})
_WRITES = frozenset({"storage.objects.create", "storage.objects.delete", "storage.objects.update"})
_ROLES = {
    "inRole:roles/storage.objectViewer": _READS,
    "inRole:roles/storage.objectUser": _READS | _WRITES,
}
_BUCKET = re.compile(r"//storage\.googleapis\.com/projects/_/buckets/([^/]+)")
_TEXT = r"'((?:[^'\\]|\\['\\])*)'"
_NAME = re.compile(rf"resource\.name\.startsWith\({_TEXT}\)")
_LIST = re.compile(
    r"api\.getAttribute\('storage\.googleapis\.com/objectListPrefix', ''\)"
    rf"\.startsWith\({_TEXT}\)"
)


@dataclass(frozen=True)
class Ask:
    """What a call wants.

    Attributes:
        permission: such as `"storage.objects.get"`.
        bucket: its name.
        name: the object's, or `None` for the bucket.
        prefix: what a listing asks for; empty for other calls.
    """

    permission: str
    bucket: str
    name: str | None = None
    prefix: str = ""

    @property
    def resource(self) -> str:
        """The resource's name, as conditions see it."""
        bucket = f"projects/_/buckets/{self.bucket}"
        return bucket if self.name is None else f"{bucket}/objects/{self.name}"


@dataclass(frozen=True)
class _Rule:
    bucket: str
    permissions: frozenset[str]
    beginnings: tuple[tuple[bool, str], ...]

    def allows(self, ask: Ask) -> bool:
        return (
            ask.bucket == self.bucket
            and ask.permission in self.permissions
            and any(
                (ask.prefix if of_list else ask.resource).startswith(text)
                for of_list, text in self.beginnings
            )
        )


@dataclass(frozen=True)
class Boundary:
    """What a narrowed token may do, of what its account may do."""

    _rules: Sequence[_Rule]

    @classmethod
    def parse(cls, options: str, /) -> Self:
        """Read the `options` of a token exchange.

        Raises:
            ValueError: they are none that Google documents, or more than are understood here.
        """
        try:
            rules = json.loads(options)["accessBoundary"]["accessBoundaryRules"]
            if not 1 <= len(rules) <= RULES:
                raise ValueError(f"{len(rules)} rules")
            return cls([_rule(each) for each in rules])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no boundary: {error}") from None

    def allows(self, ask: Ask, /) -> bool:
        """Whether some rule allows it."""
        return any(rule.allows(ask) for rule in self._rules)


def _rule(given: Any) -> _Rule:
    bucket = _BUCKET.fullmatch(given["availableResource"])
    if bucket is None:
        raise ValueError("a rule is for one bucket")
    permissions = frozenset[str]().union(*(_ROLES[name] for name in given["availablePermissions"]))
    expression = given["availabilityCondition"]["expression"]
    beginnings = []
    for part in expression.split(" || "):
        found = _NAME.fullmatch(part) or _LIST.fullmatch(part)
        if found is None:
            raise ValueError(f"an expression that is not understood: {part!r}")
        text = re.sub(r"\\(.)", r"\1", found[1])
        beginnings.append((found.re is _LIST, text))
    return _Rule(bucket[1], permissions, tuple(beginnings))
