"""`dataset_meta.json`: a version's tensors and groups, and whether it may be deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncstore.errors import DatasetCorruptError
from asyncstore.format.fields import FLAG, LIST, MAPPING, TEXT, TEXTS, Fields, dump, parse_object
from asyncstore.format.keys import META

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncstore.types import Buffer

FORMAT = "3.9.52"
"""The Deep Lake release whose format is written."""

_WHOLE = ({"start": None, "step": None, "stop": None},)


@dataclass(frozen=True, slots=True)
class DatasetMeta:
    """What a version of a dataset says of itself.

    Attributes:
        version: the release that wrote it.
        tensors: the tensors' keys, hidden ones too, in the order of their making.
        groups: the groups' paths.
        tensor_names: from each tensor's name to its key; a rename changes the name only.
        hidden_tensors: keys of the tensors that accompany others.
        default_index: which samples a saved view shows, as its JSON; one whole slice for all.
        allow_delete: whether `delete` and `overwrite` are allowed.
        extra: fields that this release does not know, kept as they are.
    """

    version: str = FORMAT
    tensors: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tensor_names: Mapping[str, str] = field(default_factory=dict)
    hidden_tensors: tuple[str, ...] = ()
    default_index: tuple[Any, ...] = _WHOLE
    allow_delete: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Buffer, /) -> DatasetMeta:
        """Read the file's bytes.

        Raises:
            DatasetCorruptError: says what is wrong.
        """
        fields = Fields(parse_object(data, META), META)
        tensors = fields.take("tensors", TEXTS)
        # Releases that did not tell names and keys apart wrote no names.
        names = fields.take("tensor_names", MAPPING, {key: key for key in tensors})
        _check_names(names, tensors)
        return cls(
            version=fields.take("version", TEXT),
            tensors=tuple(tensors),
            groups=tuple(fields.take("groups", TEXTS, [])),
            tensor_names=names,
            hidden_tensors=tuple(fields.take("hidden_tensors", TEXTS, [])),
            default_index=tuple(fields.take("default_index", LIST, list(_WHOLE))),
            allow_delete=fields.take("allow_delete", FLAG, True),
            extra=fields.rest(),
        )

    def dump(self) -> bytes:
        """Write the file's bytes, as Deep Lake 3.9.52 does."""
        known = {
            "version": self.version,
            "tensors": self.tensors,
            "groups": self.groups,
            "tensor_names": dict(self.tensor_names),
            "hidden_tensors": self.hidden_tensors,
            "default_index": self.default_index,
            "allow_delete": self.allow_delete,
        }
        return dump({**self.extra, **known}, pretty=True)


def _check_names(names: Mapping[str, str], tensors: Sequence[str]) -> None:
    unknown = set(names.values()).difference(tensors)
    if unknown:
        raise DatasetCorruptError(f"{META}: {min(unknown)[:80]!r} has a name, but is no tensor")
