"""The gateway on a real port, as the SDK needs one, with a mock of the server behind it."""

import contextlib

import pytest
from mock_tritone import answers
from running_gateway import Slow, running


@pytest.fixture
def serve():
    """`serve(handler, **settings)` starts a gateway, which ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda handler=answers, **settings: stack.enter_context(running(handler, **settings))


@pytest.fixture
def slow():
    return Slow(answers)


@pytest.fixture(scope="module")
def gateway():
    """One gateway with the usual answers, for tests that change nothing."""
    with running(answers) as started:
        yield started
