"""Google's credential documents: the JSON of a key file, checked field by field.

A document that is wrong is a `ConfigurationError` that names the field, never its value, and
never another identity. Addresses in it must be https or this machine: a document from somebody
else must not send our secrets to a third place in clear, or reach into the network around us.
"""

from __future__ import annotations

import difflib
import json
import os
from typing import TYPE_CHECKING, Any

from asyncstore.credentials import Secret
from asyncstore.errors import ConfigurationError
from asyncstore.providers.gcs import subjects
from asyncstore.providers.gcs.exchange import split
from asyncstore.providers.gcs.sources import (
    TOKEN_URI,
    AuthorizedUser,
    External,
    Impersonated,
    ServiceAccount,
    basic_of,
    load_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncstore.providers.gcs.exchange import Exchange
    from asyncstore.providers.gcs.sources import Source

_COMMON = {"type", "universe_domain", "quota_project_id", "project_id", "account"}
_SHORTEST, _LONGEST = 600, 43_200

# Fields that must be there, and fields that may be.
_FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "service_account": (
        {"client_email", "private_key"},
        {
            "private_key_id",
            "client_id",
            "auth_uri",
            "token_uri",
            "auth_provider_x509_cert_url",
            "client_x509_cert_url",
        },
    ),
    "authorized_user": (
        {"client_id", "client_secret", "refresh_token"},
        {"token_uri", "scopes", "rapt_token", "trust_boundary"},
    ),
    "external_account_authorized_user": (
        {"client_id", "client_secret", "refresh_token", "token_url"},
        {"audience", "token_info_url", "revoke_url"},
    ),
    "impersonated_service_account": (
        {"service_account_impersonation_url", "source_credentials"},
        {"delegates"},
    ),
    "external_account": (
        {"audience", "subject_token_type", "token_url", "credential_source"},
        {
            "service_account_impersonation_url",
            "service_account_impersonation",
            "client_id",
            "client_secret",
            "token_info_url",
            "workforce_pool_user_project",
        },
    ),
}
KINDS = tuple(_FIELDS)


def parse(
    text: str | bytes, place: str, /, exchange: Exchange, *, environ: Mapping[str, str] = os.environ
) -> Source:
    """Read a document's text.

    Args:
        text: JSON.
        place: where it is from, for messages.
        exchange: how its source asks for tokens.
        environ: the environment, which an AWS workload's identity is in.

    Raises:
        ConfigurationError: it is cut off, no JSON object, or wrong.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # The cause would hold the text, which is a secret.
        value = None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{place} is not a Google credential file: it is no JSON object")
    return read(value, place, exchange, environ=environ, strict=False)


def read(
    document: Mapping[str, Any],
    place: str,
    /,
    exchange: Exchange,
    *,
    environ: Mapping[str, str] = os.environ,
    strict: bool = True,
) -> Source:
    """Read a document.

    Args:
        document: parsed JSON.
        place: where it is from, for messages.
        exchange: how its source asks for tokens.
        environ: the environment.
        strict: refuse fields that are not known, as typing errors; a file of Google's may have
            new ones.

    Raises:
        ConfigurationError: names the field that is wrong, missing or unknown.
    """
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ConfigurationError(
            f"{place}: type is one of {', '.join(KINDS)}"
            + (f", not {kind!r}" if isinstance(kind, str) and len(kind) < 40 else "")  # noqa: PLR2004
        )
    _check_fields(document, kind, place, strict=strict)
    return _READERS[kind](_Document(document, place), exchange, environ)


def check_known(given: Mapping[str, Any], known: set[str], place: str, /) -> None:
    """Refuse keys that are not known, and say which one was probably meant.

    Raises:
        ConfigurationError: names the first such key.
    """
    for name in given:
        if not isinstance(name, str) or name not in known:
            near = difflib.get_close_matches(str(name).lower(), sorted(known), n=1, cutoff=0.7)
            raise ConfigurationError(
                f"{place}: unknown key {str(name)[:60]!r}"
                + (f"; write {near[0]!r}" if near else f"; known are {', '.join(sorted(known))}")
            )


def _check_fields(document: Mapping[str, Any], kind: str, place: str, *, strict: bool) -> None:
    must, may = _FIELDS[kind]
    if strict:
        check_known(document, must | may | _COMMON, place)
    missing = sorted(name for name in must if not document.get(name))
    if missing:
        raise ConfigurationError(f"{place}: {kind} lacks {', '.join(missing)}")
    if document.get("universe_domain", "googleapis.com") != "googleapis.com":
        raise ConfigurationError(f"{place}: universe_domain is not googleapis.com")


class _Document:
    """Fields with their types checked."""

    def __init__(self, fields: Mapping[str, Any], place: str) -> None:
        self._fields = fields
        self.place = place

    def text(self, name: str, default: str | None = None) -> str:
        """Return a field that must be text."""
        value = self._fields.get(name, default)
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{self.place}: {name} is not a text")
        return value

    def maybe(self, name: str) -> str | None:
        """Return a field that may be missing, and is text otherwise."""
        return self.text(name) if self._fields.get(name) is not None else None

    def url(self, name: str, default: str | None = None) -> str:
        """Return a field that is an address to which secrets may go."""
        value = self.text(name, default)
        try:
            split(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.place}: {name}: {error.message}") from None
        return value

    def fields(self, name: str, default: Any = None) -> Mapping[str, Any]:
        """Return a field that is an object."""
        value = self._fields.get(name, default)
        if not isinstance(value, dict):
            raise ConfigurationError(f"{self.place}: {name} is not an object")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that is a list of texts, or missing."""
        value = self._fields.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f"{self.place}: {name} is not a list of texts")
        return tuple(value)


def _service_account(doc: _Document, exchange: Exchange, _: Mapping[str, str]) -> Source:
    try:
        key = load_key(doc.text("private_key"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{doc.place}: {error.message}") from None
    return ServiceAccount(
        exchange,
        doc.text("client_email"),
        key,
        doc.maybe("private_key_id"),
        doc.url("token_uri", TOKEN_URI),
        doc.maybe("quota_project_id"),
    )


def _authorized_user(doc: _Document, exchange: Exchange, _: Mapping[str, str]) -> Source:
    return _user(doc, exchange, doc.url("token_uri", TOKEN_URI), basic=False)


def _workforce_user(doc: _Document, exchange: Exchange, _: Mapping[str, str]) -> Source:
    return _user(doc, exchange, doc.url("token_url"), basic=True)


def _user(doc: _Document, exchange: Exchange, url: str, *, basic: bool) -> Source:
    return AuthorizedUser(
        exchange,
        doc.text("client_id"),
        Secret(doc.text("client_secret")),
        Secret(doc.text("refresh_token")),
        url,
        doc.maybe("quota_project_id"),
        basic,
    )


def _impersonated(doc: _Document, exchange: Exchange, environ: Mapping[str, str]) -> Source:
    inner = doc.fields("source_credentials")
    if inner.get("type") == "impersonated_service_account":
        raise ConfigurationError(f"{doc.place}: source_credentials impersonates in its turn")
    source = read(
        inner, f"{doc.place}: source_credentials", exchange, environ=environ, strict=False
    )
    return _impersonate(doc, exchange, source)


def _impersonate(doc: _Document, exchange: Exchange, source: Source) -> Source:
    url = doc.url("service_account_impersonation_url")
    if not url.endswith(":generateAccessToken") or "/serviceAccounts/" not in url:
        raise ConfigurationError(
            f"{doc.place}: service_account_impersonation_url is not "
            "…/serviceAccounts/ADDRESS:generateAccessToken"
        )
    return Impersonated(
        exchange,
        source,
        url,
        doc.texts("delegates"),
        _lifetime(doc),
        doc.maybe("quota_project_id"),
    )


def _lifetime(doc: _Document) -> int:
    seconds = doc.fields("service_account_impersonation", {}).get("token_lifetime_seconds", 3600)
    if not isinstance(seconds, int) or not _SHORTEST <= seconds <= _LONGEST:
        raise ConfigurationError(
            f"{doc.place}: token_lifetime_seconds is {_SHORTEST} to {_LONGEST}"
        )
    return seconds


def _external(doc: _Document, exchange: Exchange, environ: Mapping[str, str]) -> Source:
    client, secret = doc.maybe("client_id"), doc.maybe("client_secret")
    source = External(
        exchange,
        doc.text("audience"),
        doc.text("subject_token_type"),
        doc.url("token_url"),
        subjects.read(
            doc.fields("credential_source"),
            f"{doc.place}: credential_source",
            exchange,
            audience=doc.text("audience"),
            environ=environ,
        ),
        basic_of(client_id=client, client_secret=secret or "") if client else None,
        doc.maybe("workforce_pool_user_project"),
        doc.maybe("quota_project_id"),
    )
    if doc.maybe("service_account_impersonation_url") is None:
        return source
    return _impersonate(doc, exchange, source)


_READERS: dict[str, Callable[[_Document, Exchange, Mapping[str, str]], Source]] = {
    "service_account": _service_account,
    "authorized_user": _authorized_user,
    "external_account_authorized_user": _workforce_user,
    "impersonated_service_account": _impersonated,
    "external_account": _external,
}

__all__ = ["KINDS", "check_known", "parse", "read"]
