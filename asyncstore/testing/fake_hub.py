"""A hub that is told what to say: for answers that no right hub gives, and for its silence.

It keeps no data: it hands out a storage's place and credentials, as the tests arrange them. What
a hub does when all is well is tested on the real one.
"""

from __future__ import annotations

import json
import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from asyncstore.testing.small_http import Call, Reply, SmallServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Creds = Callable[[], Mapping[str, Any]]

_CREDS = re.compile(r"/api/org/([^/]+)/ds/([^/]+)/creds")
_MANAGED = re.compile(r"/api/org/([^/]+)/storage/name")
_PRESIGNED = re.compile(r"/api/org/([^/]+)/ds/([^/]+)/chunks/url/presigned")
_NAMED = re.compile(r"/api/org/([^/]+)/dataset/([^/]+)")
_ENTRY = re.compile(r"/api/dataset/([^/]+)/([^/]+)")


class FakeHub(SmallServer):
    """Hands out what it is told to.

    Args:
        base: where data sets are, such as `"s3://bucket"`; each in a folder of its own.
        creds: returns what is lent, without its end.

    Attributes:
        tokens: who may ask, by token; the anonymous one of old clients included where it may.
        mode: what is granted.
        lifetime: seconds that what is lent holds, from when it is lent.
        ahead: seconds by which the hub's clock is ahead.
        places: where a data set is, by `"org/name"`, if not in its usual folder.
        known: data sets that were registered, with what was told of each.
    """

    def __init__(self, base: str, creds: Creds = dict) -> None:
        super().__init__(self._serve)
        self.base = base
        self.creds = creds
        self.tokens: dict[str, str] = {}
        self.mode = "a"
        self.lifetime = 3600.0
        self.ahead = 0.0
        self.places: dict[str, str] = {}
        self.known: dict[str, dict[str, Any]] = {}

    @property
    def grants(self) -> int:
        """How often credentials were asked for."""
        return self.count(_CREDS.pattern)

    def grant(self, organization: str, name: str) -> dict[str, Any]:
        """Return the answer to a call for credentials."""
        tag = f"{organization}/{name}"
        creds = dict(self.creds())
        if creds:
            creds["expiration"] = str(time.time() + self.ahead + self.lifetime)
        return {
            "path": self.places.get(tag, f"{self.base}/{tag}"),
            "mode": self.mode,
            "creds": creds,
            "repository": f"protected/{organization}",
        }

    def _serve(self, call: Call) -> Reply:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return self._said(401, {"description": "no such token"})
        for method, pattern, answer in (
            ("GET", _CREDS, self.grant),
            ("GET", _MANAGED, self._managed),
            ("GET", _PRESIGNED, lambda *_: {"data": f"{self.url}/signed"}),
            ("DELETE", _ENTRY, self._forget),
        ):
            found = pattern.fullmatch(call.path)
            if call.method == method and found is not None:
                return self._said(200, answer(*found.groups()))
        return self._change(call)

    def _change(self, call: Call) -> Reply:
        named = _NAMED.fullmatch(call.path)
        if call.method == "PUT" and named is not None:
            return self._rename(named[1], named[2], json.loads(call.body))
        if call.path == "/api/dataset/create":
            told = json.loads(call.body)
            self.known[told["tag"]] = told
            return self._said(200, {})
        if call.path == "/api/dataset/connect":
            told = json.loads(call.body)
            tag = f"{told['org_id']}/{told['ds_name'] or 'connected'}"
            self.known[tag], self.places[tag] = told, told["src_path"]
            return self._said(200, {"generated_id": tag})
        if call.path.startswith("/api/datasets/"):
            return self._said(200, [{"_id": tag} for tag in self.known])
        return self._said(404, {"description": "no such call"})

    def _managed(self, _organization: str) -> dict[str, Any]:
        return {"creds": {**self.creds(), "expires_in": self.lifetime}}

    def _forget(self, organization: str, name: str) -> dict[str, Any]:
        self.known.pop(f"{organization}/{name}", None)
        return {}

    def _rename(self, organization: str, name: str, told: dict[str, Any]) -> Reply:
        old, new = f"{organization}/{name}", f"{organization}/{told.get('basename', name)}"
        if new != old and new in self.known:
            return self._said(409, {"description": "the name is taken"})
        place = self.grant(organization, name)["path"]
        self.known[new] = self.known.pop(old, {}) | told
        self.places[new] = place
        return self._said(200, {})

    def _said(self, status: int, document: Any) -> Reply:
        date = formatdate(time.time() + self.ahead, usegmt=True)
        return Reply(
            status,
            json.dumps(document).encode(),
            {"date": date, "content-type": "application/json"},
        )
