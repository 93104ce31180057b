"""The hub's own storage: a folder, served through the S3 protocol to whoever holds a grant.

`Storage` is a bare ASGI application. A request goes through these modules in turn:

`service` (life, ASGI) → `request` (one reading of what was asked) → `verifying`, `signing`,
`grants` (who asks) → `routes` (which call it is) → `reading`, `writing`, `listing`, `multipart`,
`copying`, `uploads` (the calls) → `intake`, `chunks`, `sums` (bodies) → `committing`, `index`,
`files` (what is kept).
"""

from asyncstore.hub.storage.grants import Grant
from asyncstore.hub.storage.service import Storage

__all__ = ["Grant", "Storage"]
