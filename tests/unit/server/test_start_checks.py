"""Shared memory is compared with what the models may take before the server is started."""

import pytest
from unit.server.test_server import PYTHON, ensemble, write

from tritone.server import repository, start_checks
from tritone.server.repository import CannotStart
from tritone.server.start_checks import MIB


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
    assert start_checks.largest_request(named["pipeline"], models) == 32 * MIB
    assert start_checks.largest_request(named["tts"], models) == start_checks.USUAL_BYTES


def test_too_little_is_refused_a_little_is_warned_of_and_plenty_is_silent(models):
    with pytest.raises(CannotStart, match=r"/dev/shm has 7 MiB free, and 4 models need 8 MiB to start: .*--shm-size"):
        start_checks.check_shared_memory(models, 7 * MIB)
    warning = start_checks.check_shared_memory(models, 64 * MIB)
    assert "/dev/shm has 64 MiB free" in warning
    assert "need 104 MiB" in warning  # three stubs with 1 + 32, one with 1 + 4
    assert start_checks.check_shared_memory(models, 200 * MIB) == ""
