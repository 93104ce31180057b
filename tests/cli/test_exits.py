import pytest

from asyncstore import errors
from asyncstore.cli import exits

EXPECTED = {
    "NotFoundError": 3,
    "AlreadyExistsError": 5,
    "PreconditionError": 5,
    "ObjectChangedError": 7,
    "UnauthenticatedError": 4,
    "PermissionDeniedError": 4,
    "ReadOnlyError": 4,
    "InvalidPathError": 2,
    "InvalidSpanError": 2,
    "NotSupportedError": 1,
    "IntegrityError": 7,
    "ConfigurationError": 2,
    "TransientError": 6,
    "ThrottledError": 6,
    "UnavailableError": 6,
    "DeadlineError": 6,
    "DatasetError": 1,
    "DatasetNotFoundError": 3,
    "DatasetExistsError": 5,
    "DatasetCorruptError": 7,
    "DatasetLockedError": 1,
    "StoreError": 1,
}


def test_every_error_of_the_library_has_its_exit_code():
    kinds = {
        name: kind
        for name in errors.__all__
        if isinstance(kind := getattr(errors, name), type) and issubclass(kind, errors.StoreError)
    }
    assert {name: exits.code_of(kind("x")) for name, kind in kinds.items()} == EXPECTED


def test_every_code_is_explained():
    assert set(EXPECTED.values()) | {0, 130, 141} == set(exits.MEANINGS)


@pytest.mark.parametrize("error", [ValueError("x"), OSError(5, "x"), KeyError("x")])
def test_what_is_no_error_of_the_library_is_a_plain_failure(error):
    assert exits.code_of(error) == 1
