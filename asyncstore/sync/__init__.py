"""The same API without `await`: for scripts, threads and notebooks.

Every call runs on one background event loop and blocks the thread it is made in. It works where
a loop is running already, as in a notebook, from any number of threads, and after a fork; Ctrl-C
cancels the call. Signatures, results and errors are those of the async names; `aclose` is
`close`, and iterators and context managers are the plain kind.
"""

from __future__ import annotations

from asyncstore.batch import Outcome as Outcome
from asyncstore.errors import *  # noqa: F403 - the same errors
from asyncstore.layers import RetryPolicy as RetryPolicy
from asyncstore.sync._batch import Batch as Batch
from asyncstore.sync._datasets import Dataset as Dataset
from asyncstore.sync._datasets import connect as connect
from asyncstore.sync._datasets import copy as copy
from asyncstore.sync._datasets import dataset as dataset
from asyncstore.sync._datasets import delete as delete
from asyncstore.sync._datasets import empty as empty
from asyncstore.sync._datasets import exists as exists
from asyncstore.sync._datasets import list as list  # noqa: A004 - the old client's name
from asyncstore.sync._datasets import load as load
from asyncstore.sync._datasets import make_private as make_private
from asyncstore.sync._datasets import make_public as make_public
from asyncstore.sync._datasets import rename as rename
from asyncstore.sync._store import Store as Store
from asyncstore.sync._store import open_store as open_store
from asyncstore.sync._watching import Watch as Watch
from asyncstore.sync._watching import watch as watch
from asyncstore.types import Blob as Blob
from asyncstore.types import ObjectMeta as ObjectMeta
from asyncstore.types import Span as Span
from asyncstore.url import StoreURL as StoreURL
