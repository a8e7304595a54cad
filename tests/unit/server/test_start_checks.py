"""Before the server is started: is there a GPU for models that want one, and shared memory for all of them?"""

from contextlib import nullcontext
from functools import partial

import pytest
from unit.server.test_server import PYTHON, ensemble, write

from tritone.server import leftovers, repository, start_checks, tritonserver
from tritone.server.cli import _plan
from tritone.server.repository import CannotStart
from tritone.server.start_checks import MIB
from tritone.server.tritonserver import Ports
from tritone.server.watching.policy import Policy, Stopping


def parameters(**values):
    return PYTHON + "".join(
        f' parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in values.items()
    )


@pytest.fixture
def models(tmp_path):
    write(tmp_path, "decoder", f"{parameters(max_bytes=32 * MIB)} instance_group {{ count: 2 }}")
    write(tmp_path, "pipeline", parameters(calls="decoder"))
    write(tmp_path, "tts")
    write(tmp_path, "both", ensemble("pipeline", "tts"))
    return repository.select(repository.read([tmp_path], "cpu"), [])


def test_a_pipeline_passes_on_what_the_models_below_it_take(models):
    named = {model.name: model for model in models}
    letters = -(-32 * MIB // 3) * 4  # the file may come as base64
    assert start_checks.largest_request(named["pipeline"], models) == letters
    assert start_checks.largest_request(named["tts"], models) == start_checks.USUAL_BYTES


def test_too_little_is_refused_a_little_is_warned_of_and_plenty_is_silent(models):
    with pytest.raises(CannotStart, match=r"/dev/shm has 7 MiB free, and 4 models need 8 MiB to start: .*--shm-size"):
        start_checks.check_shared_memory(models, 7 * MIB)
    warning = start_checks.check_shared_memory(models, 64 * MIB)
    assert "/dev/shm has 64 MiB free" in warning
    assert "need 136 MiB" in warning  # three stubs with 1 + 32 * 4/3, one with 1 + 4
    assert start_checks.check_shared_memory(models, 200 * MIB) == ""


@pytest.mark.parametrize(
    ("device", "gpu", "why"),
    [
        ("auto", False, "no NVIDIA GPU is visible"),
        ("cpu", False, "--device is cpu"),
        ("cpu", True, "--device is cpu"),
        ("auto", True, ""),
        ("gpu", True, ""),
    ],
)
def test_a_configuration_for_a_gpu_is_refused_where_there_is_none_for_it(tmp_path, monkeypatch, device, gpu, why):
    write(tmp_path, "llava", f"{PYTHON} instance_group {{ kind: KIND_CPU }}")
    write(tmp_path, "llava", f"{PYTHON} instance_group {{ kind: KIND_GPU }}", variant="l4")
    write(tmp_path, "tts", f"{PYTHON} instance_group {{ kind: KIND_CPU }}")
    monkeypatch.setattr(tritonserver, "has_gpu", lambda: gpu)
    start_checks.check_gpu(repository.select(repository.read([tmp_path], "cpu"), []), device)
    models = repository.select(repository.read([tmp_path], "l4"), [])
    with pytest.raises(CannotStart, match=f"{why}, and the configuration of llava is") if why else nullcontext():
        start_checks.check_gpu(models, device)


def test_a_server_is_not_started_with_a_configuration_for_a_gpu_that_is_not_there(tmp_path, monkeypatch):
    write(tmp_path, "net", f"{PYTHON} instance_group {{ kind: KIND_CPU }}")
    write(tmp_path, "net", f"{PYTHON} instance_group {{ kind: KIND_GPU }}", variant="l4")
    monkeypatch.setattr(tritonserver, "has_gpu", lambda: False)
    monkeypatch.setattr(start_checks, "check_ports", lambda _: None)
    monkeypatch.setattr(leftovers, "remove", lambda: None)
    where, when = {"ports": Ports("127.0.0.1", 1, 2, 3, 4)}, {"policy": Policy(), "stopping": Stopping()}
    plan = partial(_plan, [], [tmp_path], device="auto", ready_grace_s=0, **where, **when)
    with pytest.raises(CannotStart, match="no NVIDIA GPU is visible, and the configuration of net is for a GPU"):
        plan(config_name="l4")
    assert plan(config_name="cpu").config_name == "cpu"
