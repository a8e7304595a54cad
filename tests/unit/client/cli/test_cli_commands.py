"""Which commands there are, and what is imported for them."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from tritone_client import cli

COMMAND = [sys.executable, "-m", "tritone_client.cli"]


@pytest.fixture
def added(monkeypatch):
    """added(name, value): the only command that another package adds."""

    def add(name, value):
        entry = EntryPoint(name, value, "tritone.commands")
        monkeypatch.setattr(cli, "entry_points", lambda group: [entry] if group == "tritone.commands" else [])

    return add


def test_help_lists_the_verbs_and_what_was_added(tritone, added):
    added("serve", "tritone.server.cli:serve")
    run = tritone(None, "--help")
    assert run.code == 0
    for name in (*cli.VERBS, "serve"):
        assert f"│ {name} " in run.said
    assert "--install-completion" in run.said


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_tells_its_options(tritone, name):
    run = tritone(None, name, "--help")
    assert run.code == 0
    for option in ("--server", "TRITONE_SERVER", "--timeout", "--json"):
        assert option in run.said


def test_an_added_function_and_an_added_app_have_their_own_options(tritone, added):
    added("serve", "tritone.server.cli:serve")
    assert "--grpc-port" in tritone(None, "serve", "--help").said
    added("gateway", "tritone_gateway.cli:app")
    assert "root gateway" in tritone(None, "gateway", "--help").said


def test_an_added_command_that_lacks_a_package_says_so_and_spoils_nothing(tritone, added):
    added("serve", "tritone_is_not_here.cli:serve")
    reason = "tritone_is_not_here.cli cannot be imported: No module named 'tritone_is_not_here'"
    assert "tritone_is_not_here" in tritone(None, "--help").said
    run = tritone(None, "serve")
    assert (run.code, run.about) == (1, f"tritone serve: {reason}\n")


def test_a_verb_imports_neither_the_server_nor_other_verbs(closed_port):
    look = "from tritone_client.cli import app\nimport sys\ntry: app(sys.argv[1:])\nfinally: print(*sys.modules)"
    command = [sys.executable, "-c", look, "models", "--server", f"127.0.0.1:{closed_port}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert run.returncode == 3
    imported = set(run.stdout.split())
    assert "tritone_client.cli.models" in imported
    assert not imported & {"tritone", "tritone_gateway", "torch", "faiss", "sounddevice", "textual_image"}
    assert not imported & {f"tritone_client.cli.{verb}" for verb in cli.VERBS if verb != "models"}


def test_without_its_extra_the_command_says_what_it_needs():
    look = "import sys; sys.modules['typer'] = None; import tritone_client.cli"
    run = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "the command tritone needs typer and rich: pip install 'tritone-client[cli]'\n"


def test_the_shell_completes_commands_and_options():
    def completed(words):
        environment = os.environ | {
            "_TRITONE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1),
        }  # fmt: skip
        return subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=True).stdout.split()

    assert completed("tritone sea") == ["search"]
    assert completed("tritone listen --micro") == ["--microphone"]
