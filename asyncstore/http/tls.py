"""TLS, one way: 1.2 or newer, the other side's certificate verified, always."""

from __future__ import annotations

import ssl

from asyncstore.errors import ConfigurationError


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Make a context that verifies against `ca_bundle`, or the system's authorities.

    Raises:
        ConfigurationError: the bundle cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        reason = error.strerror or "no certificates in it"
        raise ConfigurationError(f"cannot read ca_bundle {ca_bundle!r}: {reason}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
