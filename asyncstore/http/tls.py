"""TLS, one way: 1.2 or newer, the other side's certificate verified, always."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from asyncstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLE = "REQUESTS_CA_BUNDLE"
"""The variable that the command lines of AWS and Google both take authorities from."""


def tls_context(ca_bundle: str | None, environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Make a context that verifies against `ca_bundle`.

    Args:
        ca_bundle: a PEM file; `None` is what `REQUESTS_CA_BUNDLE` names, or the system's
            authorities, which `SSL_CERT_FILE` and `SSL_CERT_DIR` replace, as OpenSSL says.
        environ: the environment.

    Raises:
        ConfigurationError: the bundle cannot be read.
    """
    name, bundle = "ca_bundle", ca_bundle
    if bundle is None:
        name, bundle = BUNDLE, environ.get(BUNDLE) or None
    try:
        if bundle is not None and os.path.isdir(bundle):
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        reason = error.strerror or "no certificates in it"
        raise ConfigurationError(f"cannot read {name} {bundle!r}: {reason}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
