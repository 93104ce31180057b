"""Google Cloud Storage: `gcs://`, `gs://` and `gcp://`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncstore.providers.gcs.provider import GCSProvider

if TYPE_CHECKING:
    from asyncstore.types import Settings
    from asyncstore.url import StoreURL


def connect(url: StoreURL, settings: Settings, /) -> GCSProvider:
    """Return the provider of a bucket. No I/O.

    Raises:
        ConfigurationError: the credentials or the endpoint are of no known form.
    """
    return GCSProvider(url.bucket, settings)


__all__ = ["GCSProvider", "connect"]
