"""The hub's own storage: the S3 protocol over a folder."""
