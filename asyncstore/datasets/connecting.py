"""`connect`: a dataset that is in an organisation's own bucket, under a name of its hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from asyncstore.datasets import hubs, options
from asyncstore.datasets.opening import load
from asyncstore.errors import ConfigurationError, InvalidPathError, PermissionDeniedError
from asyncstore.store import open_store
from asyncstore.url import StoreURL

if TYPE_CHECKING:
    from asyncstore.datasets.handle import Dataset
    from asyncstore.datasets.options import Reach
    from asyncstore.url import PathLike


async def connect(
    src_path: PathLike,
    dest_path: PathLike | None = None,
    *,
    creds_key: str,
    org_id: str | None = None,
    ds_name: str | None = None,
    token: str | None = None,
    hub_url: str | None = None,
    **reach: Unpack[Reach],
) -> Dataset:
    """Give a dataset in a bucket a hub's name, so that members need no credentials of their own.

    Nothing is copied: the hub notes where the dataset is, and lends credentials for it that it
    makes from those that the organisation stored.

    Args:
        src_path: where the dataset is: `s3://…` or `gcs://…`.
        dest_path: its name to be: `hub://organisation/name`. Or give `org_id`.
        creds_key: the name under which the organisation stored its bucket's credentials, as by
            `asyncstore creds add`.
        org_id: the organisation, in place of `dest_path`.
        ds_name: the name in it; by default the last part of `src_path`.
        token, hub_url: as in `load`.
        reach: `endpoint_url` and the others, as in `open_store`.

    Returns:
        The dataset, opened by its new name as `load` does.

    Raises:
        InvalidPathError: either path is of a kind that cannot be connected.
        ConfigurationError: both of `dest_path` and `org_id` are given, or neither.
        PermissionDeniedError: the hub does not let this token connect it.
        AlreadyExistsError: the hub has one of that name.
        DatasetNotFoundError: no dataset is there.
    """
    further = options.reach("connect", reach)
    source = StoreURL.parse(src_path)
    if source.scheme not in ("s3", "gcs"):
        raise InvalidPathError(
            f"{source} is in no bucket; connect() takes an s3:// or gcs:// path"
        ).at("connect", str(source))
    organization, name = _destination(dest_path, org_id, ds_name)
    place = StoreURL("hub", organization, "")
    async with open_store(place, token=token, hub_url=hub_url, **further) as store:
        try:
            made = await hubs.connect(store, str(source), name, creds_key)
        except ConfigurationError as error:
            if error.status != _BAD_REQUEST:
                raise
            # That is how hubs say that the key does not open the path.
            raise PermissionDeniedError(error.message, status=error.status).at(
                "connect", str(source)
            ) from None
    return await load(f"hub://{made}", token=token, hub_url=hub_url, verbose=False, **further)


_BAD_REQUEST = 400


def _destination(
    dest_path: PathLike | None, org_id: str | None, ds_name: str | None
) -> tuple[str, str | None]:
    if (dest_path is None) == (org_id is None):
        raise ConfigurationError("connect() takes dest_path= or org_id=, and not both")
    if dest_path is None:
        url = StoreURL.parse(f"hub://{org_id}/{ds_name or 'name'}")
        hubs.check(url)
        return url.bucket, ds_name
    url = StoreURL.parse(dest_path)
    if url.scheme != "hub":
        raise InvalidPathError(f"{url} is no hub's name: write hub://organisation/name").at(
            "connect", str(url)
        )
    if ds_name is not None:
        raise ConfigurationError("ds_name= goes with org_id=; dest_path= has the name in it")
    hubs.check(url)
    return url.bucket, url.path
