"""The credential access boundary that narrows a Google token to one data set. Pure.

A downscoped token may do what its account may do and what a rule of the boundary allows. One rule
names the objects below a prefix, another lets them be listed: what a listing asks for is told by
an attribute of its own, which is empty for every other call.

Source: https://cloud.google.com/iam/docs/downscoping-short-lived-credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncstore.errors import NotSupportedError
from asyncstore.hub.minting.policy import check_place

if TYPE_CHECKING:
    from asyncstore.hub.minting.policy import Mode
    from asyncstore.url import StoreURL

_EXPRESSION = 2048  # characters of a condition
_LIST = "api.getAttribute('storage.googleapis.com/objectListPrefix', '')"


def access_boundary(url: StoreURL, /, *, mode: Mode) -> dict[str, Any]:
    """Return a boundary that allows one data set and nothing else.

    Args:
        url: `gcs://bucket/prefix`, with a prefix.
        mode: `"r"` gets no permission that changes anything.

    Raises:
        ConfigurationError: the prefix is empty.
        NotSupportedError: a condition would be longer than it may be.
    """
    check_place(url)
    role = "roles/storage.objectUser" if mode == "w" else "roles/storage.objectViewer"
    objects = f"projects/_/buckets/{url.bucket}/objects/{url.prefix}"
    rules = [
        _rule(url, role, f"resource.name.startsWith({_quoted(objects)})"),
        _rule(url, "roles/storage.objectViewer", f"{_LIST}.startsWith({_quoted(url.prefix)})"),
    ]
    return {"accessBoundary": {"accessBoundaryRules": rules}}


def _rule(url: StoreURL, role: str, expression: str) -> dict[str, Any]:
    if len(expression) > _EXPRESSION:
        raise NotSupportedError(
            f"{url}: its condition has {len(expression)} characters, and the most is "
            f"{_EXPRESSION}; choose a shorter path"
        )
    return {
        "availablePermissions": [f"inRole:{role}"],
        "availableResource": f"//storage.googleapis.com/projects/_/buckets/{url.bucket}",
        "availabilityCondition": {"expression": expression},
    }


def _quoted(text: str) -> str:
    """Write a text in single quotes, as the Common Expression Language reads it."""
    inner = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{inner}'"
