"""The two clients have the same verbs."""

import inspect
import re

import pytest

from tritone_client import AsyncChat, AsyncClient, Chat, Client


def methods(kind: type) -> dict[str, inspect.Signature]:
    public = inspect.getmembers(kind, lambda member: inspect.isfunction(member))
    return {name: inspect.signature(method) for name, method in public if not name.startswith("_")}


def asynchronous(annotation: object) -> object:
    """What an asynchronous method is annotated with where a blocking one has this."""
    said = re.sub(r"Generator\[(.*), None, None\]", r"AsyncGenerator[\1, None]", inspect.formatannotation(annotation))
    return re.sub(r"\bChat\b", "AsyncChat", said)


@pytest.mark.parametrize(("blocking", "other"), [(Client, AsyncClient), (Chat, AsyncChat)])
def test_verbs_have_the_same_names_and_arguments(blocking, other):
    ours, theirs = methods(blocking), methods(other)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert list(signature.parameters.values()) == list(theirs[name].parameters.values()), name
        returned = inspect.formatannotation(theirs[name].return_annotation)
        assert returned == asynchronous(signature.return_annotation), name


@pytest.mark.parametrize(("blocking", "other"), [(Client, AsyncClient), (Chat, AsyncChat)])
def test_what_waits_is_awaited_and_what_streams_is_an_asynchronous_generator(blocking, other):
    for name, signature in methods(blocking).items():
        method = getattr(other, name)
        if "Generator" in str(signature.return_annotation):
            assert "AsyncGenerator" in str(inspect.signature(method).return_annotation), name
        else:
            assert inspect.iscoroutinefunction(method) or name == "chat", name


@pytest.mark.parametrize("kind", [AsyncClient, AsyncChat])
def test_the_words_stand_once(kind):
    for name in methods(kind):
        first = (getattr(kind, name).__doc__ or "").splitlines()[0]
        assert first.startswith(f"As `{kind.__name__.removeprefix('Async')}.{name}`"), name
