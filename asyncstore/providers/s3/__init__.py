"""Amazon S3 and what speaks its language, on the HTTP engine."""

from asyncstore.providers.s3.provider import S3Provider, connect

__all__ = ["S3Provider", "connect"]
