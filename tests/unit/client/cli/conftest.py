"""The command `tritone` in this process, with functions in the places of server, microphone and loudspeaker."""

from dataclasses import dataclass

import pytest
from typer.testing import CliRunner, Result

from tritone_client import Client, MockTransport
from tritone_client.cli import app
from tritone_client.cli.session import Outside
from tritone_client.cli.sound import NoSound


def silent():
    raise NoSound("this machine plays no sound: it is a test")


class Transport(MockTransport):
    """`ready` may be a function of the model."""

    def is_ready(self, model, timeout_s):
        return self.ready(model) if callable(self.ready) else self.ready


@dataclass
class Ran:
    """What came of a run."""

    result: Result
    transport: MockTransport
    connected: list  # (server, timeout) of each client

    @property
    def said(self) -> str:
        return self.result.stdout

    @property
    def about(self) -> str:
        return self.result.stderr

    @property
    def code(self) -> int:
        return self.result.exit_code

    @property
    def requests(self):
        return self.transport.requests

    def sent(self, number=0) -> dict:
        """The inputs of a request as plain values."""
        return {name: array[0].tolist() for name, array in self.requests[number].inputs.items()}


@pytest.fixture
def tritone():
    """tritone(handler, *arguments): `handler` answers as that of a MockTransport."""

    def run(handler, *arguments, stdin=None, ready=True, loudspeaker=silent, microphone=silent) -> Ran:
        transport, connected = Transport(handler, ready), []

        def connect(server, timeout_s):
            connected.append((server, timeout_s))
            return Client(server, timeout_s=timeout_s, transport=transport)

        outside = Outside(connect, microphone, loudspeaker)
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], obj=outside, input=stdin)
        return Ran(result, transport, connected)

    return run
