"""Credentials of an organisation's own bucket: sealed at rest, and narrowed before they are lent.

An administrator stores a bucket's credentials once (`Vault` seals them). Whoever opens a data set
is handed others (`Minter`), which end soon and reach that data set alone:

`managed` (what may be stored) → `reach` (where it may lead) → `policy`, `boundary` (what is
allowed, as text) → `amazon`, `google` (the calls).
"""

from asyncstore.hub.minting.minted import Minted
from asyncstore.hub.minting.minter import Addresses, Minter
from asyncstore.hub.minting.policy import Mode
from asyncstore.hub.minting.reach import Reach
from asyncstore.hub.minting.vault import Vault

__all__ = ["Addresses", "Minted", "Minter", "Mode", "Reach", "Vault"]
