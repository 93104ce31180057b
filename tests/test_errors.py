"""What every error promises: it travels, it says where, and it hides nothing but secrets."""

import copy
import inspect
import pickle

import pytest

from asyncstore import errors
from asyncstore.errors import BatchError, NotFoundError, StoreError, ThrottledError

KINDS = sorted(
    (
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, StoreError)
    ),
    key=lambda kind: kind.__name__,
)


def made(kind):
    error = kind(
        "access denied",
        op="get",
        url="s3://bucket/key",
        status=403,
        request_id="4T2",
        outcome="unknown",
    )
    if hasattr(error, "retry_after"):
        error.retry_after = 1.5
    return error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_pickles_with_all_it_knows(kind, protocol):
    error = made(kind)
    error.note = "added later"
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert again.__dict__ == error.__dict__
    assert again.args == error.args
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_can_be_copied(kind):
    again = copy.copy(made(kind))
    assert type(again) is kind
    assert again.__dict__ == made(kind).__dict__


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_where_and_who(kind):
    assert str(made(kind)) == "get s3://bucket/key: access denied [request 4T2]"
    assert kind.__name__ in repr(made(kind))
    assert str(kind("only this")) == "only this"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_public_and_explained(kind):
    assert kind.__name__ in errors.__all__
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("NotFoundError", FileNotFoundError),
        ("AlreadyExistsError", FileExistsError),
        ("UnauthenticatedError", PermissionError),
        ("PermissionDeniedError", PermissionError),
        ("ReadOnlyError", PermissionError),
        ("InvalidPathError", ValueError),
        ("InvalidSpanError", ValueError),
        ("NotSupportedError", NotImplementedError),
        ("ConfigurationError", ValueError),
        ("DeadlineError", TimeoutError),
    ],
)
def test_python_code_that_catches_the_builtin_catches_it(kind, builtin):
    with pytest.raises(builtin):
        raise made(getattr(errors, kind))


def test_only_what_passes_is_retryable():
    retryable = {kind.__name__ for kind in KINDS if kind.retryable}
    assert retryable == {"TransientError", "ThrottledError", "UnavailableError", "DeadlineError"}


def test_a_place_is_said_once_and_not_overwritten():
    error = NotFoundError("no such object").at("get", "mem://a/b").at("copy", "mem://other")
    assert (error.op, error.url) == ("get", "mem://a/b")


def test_a_hostile_name_does_not_drive_the_terminal():
    error = NotFoundError("no\x1b[2J", op="get", url="mem://a/\u202e\x07\ud800")
    assert str(error).isprintable()
    assert "\\x1b" in str(error)


def test_a_throttled_error_keeps_the_hint():
    error = ThrottledError("slow down", retry_after=2.0, status=503)
    assert pickle.loads(pickle.dumps(error)).retry_after == 2.0
    assert ThrottledError("slow down").retry_after is None


def test_a_batch_error_pickles_and_splits_into_its_kind():
    group = BatchError("2 of 9 failed", [made(NotFoundError), made(ThrottledError)])
    again = pickle.loads(pickle.dumps(group))
    assert [type(error) for error in again.exceptions] == [NotFoundError, ThrottledError]
    matched, rest = group.split(NotFoundError)
    assert isinstance(matched, BatchError)
    assert isinstance(rest, BatchError)
