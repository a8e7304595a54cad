"""What `tritone serve` decides before and beside the server: models, configs, refusals, environment, canaries."""

import queue
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tritone import control, process, repository, server, tritonserver, watchdog
from tritone.repository import CannotStart
from tritone.tritonserver import Ports, Tritonserver
from tritone.watchdog import Patience, Watchdog

PYTHON = 'backend: "python"'


def write(folder, name, text=PYTHON, variant=None):
    file = folder / name / (f"configs/{variant}.pbtxt" if variant else "config.pbtxt")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    (folder / name / "1").mkdir(exist_ok=True)
    (folder / name / "1" / "model.py").touch()
    return folder


def ensemble(*steps):
    wiring = " ".join(f'step {{ model_name: "{step}" }}' for step in steps)
    return f'platform: "ensemble" ensemble_scheduling {{ {wiring} }}'


def parameter(key, value):
    return f'{PYTHON} parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def names(models):
    return [model.name for model in models]


class TestRepository:
    def test_reads_models_of_all_repositories_with_the_device_variant_where_there_is_one(self, tmp_path):
        write(tmp_path / "models", "varied", parameter("checkpoint", "large"))
        write(tmp_path / "models", "varied", parameter("checkpoint", "small"), variant="cpu")
        write(tmp_path / "models", "plain")
        write(tmp_path / "ensembles", "both", ensemble("varied", "plain"))
        folders = [tmp_path / "models", tmp_path / "ensembles"]
        on_cpu, on_gpu = repository.read(folders, "cpu"), repository.read(folders, None)
        assert sorted(on_cpu) == sorted(on_gpu) == ["both", "plain", "varied"]
        assert (on_cpu["varied"].checkpoint, on_gpu["varied"].checkpoint) == ("small", "large")
        assert on_cpu["plain"].checkpoint is None
        assert [on_cpu[name].is_python for name in ("both", "plain")] == [False, True]

    def test_a_malformed_config_is_named_with_its_line(self, tmp_path):
        write(tmp_path, "typo", "backend: 'python'\nmax_batch_sise: 1")
        with pytest.raises(CannotStart, match=r"typo/config\.pbtxt .*2:1.*max_batch_sise"):
            repository.read([tmp_path], "cpu")

    def test_two_models_of_one_name_are_refused(self, tmp_path):
        with pytest.raises(CannotStart, match="two models are named 'same'"):
            repository.read([write(tmp_path / "a", "same"), write(tmp_path / "b", "same")], "cpu")

    def test_a_missing_repository_is_refused(self, tmp_path):
        with pytest.raises(CannotStart, match=r"no model repository .*nowhere"):
            repository.read([tmp_path / "nowhere"], "cpu")


class TestSelection:
    @pytest.fixture
    def models(self, tmp_path):
        write(tmp_path, "decoder")
        write(tmp_path, "whisper")
        write(tmp_path, "transcribe", parameter("calls", "decoder, whisper"))
        write(tmp_path, "tts")
        write(tmp_path, "assistant", ensemble("transcribe", "tts"))
        write(tmp_path, "wrapper", ensemble("assistant"))
        return repository.read([tmp_path], "cpu")

    def test_without_names_all_models_are_taken(self, models):
        assert sorted(names(repository.select(models, []))) == sorted(models)

    def test_a_name_brings_everything_it_needs_and_nothing_else_children_first(self, models):
        assert names(repository.select(models, ["transcribe"])) == ["decoder", "whisper", "transcribe"]
        assert names(repository.select(models, ["assistant", "tts"])) == [
            "decoder", "whisper", "transcribe", "tts", "assistant",
        ]  # fmt: skip

    def test_an_unknown_name_is_refused_with_the_known_ones(self, models):
        with pytest.raises(CannotStart, match=r"no model 'whisperer'; there are assistant, decoder, .*whisper"):
            repository.select(models, ["whisperer"])

    def test_a_missing_child_is_refused(self, models):
        del models["decoder"]
        with pytest.raises(CannotStart, match="'transcribe' needs model 'decoder'"):
            repository.select(models, ["assistant"])

    def test_a_circle_is_refused(self, tmp_path):
        write(tmp_path, "a", parameter("calls", "b"))
        write(tmp_path, "b", parameter("calls", "a"))
        with pytest.raises(CannotStart, match="circle: a → b → a"):
            repository.select(repository.read([tmp_path], "cpu"), ["a"])

    def test_a_python_model_without_code_is_refused(self, models):
        (models["decoder"].folder / "1" / "model.py").unlink()
        with pytest.raises(CannotStart, match=r"'decoder' has no code: there is no file .*/decoder/1/model\.py"):
            repository.select(models, ["transcribe"])
        (models["decoder"].folder / "1").rmdir()
        with pytest.raises(CannotStart, match=r"'decoder' has no version"):
            repository.select(models, ["transcribe"])
        assert names(repository.select(models, ["whisper"])) == ["whisper"]

    def test_users_of_a_model_are_the_ensembles_around_it_inner_ones_first(self, models):
        assert names(repository.users_of("tts", models.values())) == ["assistant", "wrapper"]
        assert names(repository.users_of("decoder", models.values())) == []  # transcribe calls it: nothing to reload


class TestFinding:
    @pytest.fixture(autouse=True)
    def no_container(self, monkeypatch, tmp_path):
        monkeypatch.delenv("TRITONSERVER", raising=False)
        monkeypatch.setattr(tritonserver, "CONTAINER", tmp_path / "none")
        monkeypatch.setattr(tritonserver.shutil, "which", lambda name: name if Path(name).is_file() else None)

    @pytest.fixture
    def image(self, tmp_path):
        """A tritonserver as it lies in NVIDIA's image."""
        (tmp_path / "image" / "bin").mkdir(parents=True)
        (tmp_path / "image" / "TRITON_VERSION").write_text("2.75.0\n")
        binary = tmp_path / "image" / "bin" / "tritonserver"
        binary.touch()
        return binary

    def test_the_variable_wins_over_the_container_and_the_container_over_the_wheel(self, monkeypatch, image):
        assert tritonserver.find().wheel is not None
        monkeypatch.setattr(tritonserver, "CONTAINER", image)
        assert tritonserver.find() == Tritonserver(image, "this container or machine", None, (2, 75))
        named = image.with_name("mine")
        named.touch()
        monkeypatch.setenv("TRITONSERVER", str(named))
        assert tritonserver.find() == Tritonserver(named, "$TRITONSERVER", None, (2, 75))

    def test_the_wheels_own_binary_is_started_as_the_wheels_even_if_named(self, monkeypatch):
        wheel = tritonserver.find()
        monkeypatch.setenv("TRITONSERVER", str(wheel.binary))
        assert tritonserver.find() == wheel

    def test_without_any_server_it_says_what_to_do(self, monkeypatch):
        monkeypatch.setattr(tritonserver, "_wheel", lambda: None)
        with pytest.raises(CannotStart, match=r"pip install 'tritone\[server\]'"):
            tritonserver.find()

    @pytest.mark.parametrize(
        ("version", "numpy", "refused"),
        [((2, 51), "2.0.0", True), ((2, 51), "1.26.4", False), ((2, 52), "2.4.6", False), (None, "2.4.6", False)],
    )
    def test_numpy_2_is_refused_beside_servers_that_cannot_read_it(self, version, numpy, refused):
        found = Tritonserver(Path("tritonserver"), "here", None, version)
        if refused:
            with pytest.raises(CannotStart, match=r"numpy 2\.0\.0 .* tritonserver 2\.51"):
                tritonserver.check_numpy(found, numpy)
        else:
            tritonserver.check_numpy(found, numpy)


class TestCommandAndEnvironment:
    PORTS = Ports("127.0.0.1", 8000, 8001, 8002, 8003)
    IMAGE = Tritonserver(Path("/opt/tritonserver/bin/tritonserver"), "here")

    def test_the_control_apis_are_closed_on_both_protocols(self, tmp_path):
        arguments = tritonserver.command(self.IMAGE, tmp_path, self.PORTS, "secret")
        for option in ("--http-restricted-api", "--grpc-restricted-protocol"):
            (value,) = [a.split("=", 1)[1] for a in arguments if a.startswith(option)]
            assert set(value.split(":")[0].split(",")) >= {"shared-memory", "model-repository", "trace", "logging"}
            assert value.endswith("=secret")

    def test_every_service_listens_on_the_host_that_was_given(self, tmp_path):
        arguments = tritonserver.command(self.IMAGE, tmp_path, self.PORTS, "secret")
        assert {f"--{service}-address=127.0.0.1" for service in ("http", "grpc", "metrics")} <= set(arguments)

    def test_what_the_user_tuned_stays_and_downloads_stay_off(self, tmp_path, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        env = tritonserver.environment(self.IMAGE, tmp_path, tmp_path / "checkpoints")
        assert env["OMP_NUM_THREADS"] == "7"
        assert env["HF_HUB_OFFLINE"] == "1"
        assert env["TRITONE_CHECKPOINTS"] == str(tmp_path / "checkpoints")

    def test_threads_follow_the_cpus_this_process_may_use(self, tmp_path, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        for cpus, threads in ((3, "3"), (64, str(tritonserver.MOST_THREADS))):
            monkeypatch.setattr(tritonserver.os, "sched_getaffinity", lambda _, cpus=cpus: set(range(cpus)))
            assert tritonserver.environment(self.IMAGE, tmp_path, None)["OMP_NUM_THREADS"] == threads

    def test_the_wheels_stub_is_executable_and_finds_its_libraries(self, tmp_path):
        found = tritonserver.find()
        env = tritonserver.environment(found, tmp_path, None)
        backend = tmp_path / "backends" / "python"
        assert (backend / "triton_python_backend_stub").stat().st_mode & 0o111 == 0o111
        assert {path.name for path in backend.iterdir()} >= {"libtriton_python.so", "triton_python_backend_utils.py"}
        folders = [Path(folder) for folder in env["LD_LIBRARY_PATH"].split(":")]
        assert any(list(folder.glob("libpython3.*.so*")) for folder in folders[1:])
        assert Path(env["PATH"].split(":")[0], "python3").exists()

    @pytest.mark.parametrize("hidden", ["", "-1"])
    def test_a_hidden_gpu_is_no_gpu(self, monkeypatch, hidden):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        monkeypatch.setattr(tritonserver.shutil, "which", lambda _: "/bin/true")
        assert not tritonserver.has_gpu()

    def test_the_device_chooses_the_configuration(self, monkeypatch):
        monkeypatch.setattr(tritonserver, "has_gpu", lambda: True)
        assert [server._config_name(device) for device in ("auto", "gpu", "cpu")] == [None, None, "cpu"]
        monkeypatch.setattr(tritonserver, "has_gpu", lambda: False)
        assert [server._config_name(device) for device in ("auto", "cpu")] == ["cpu", "cpu"]
        with pytest.raises(CannotStart, match="no NVIDIA GPU"):
            server._config_name("gpu")

    def test_a_port_given_twice_is_refused(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(
            CannotStart, match=f"port {port} is given twice, for --http-port and --watchdog-metrics-port"
        ):
            server._check_ports(Ports("127.0.0.1", port, 1 + port % 60000, 2 + port % 60000, port))


LOADING = """I1123 21:01:53.384018 4587 model_lifecycle.cc:472] "loading: broken:1"
{}
E1123 21:01:53.82731 4587 ensemble_scheduler.cc:1468] "unable to create stream for twice: CUDA driver version"
"""


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        (
            "E1 4587 model_lifecycle.cc:642] \"failed to load 'broken' version 1: Internal: ModuleNotFoundError: "
            "No module named 'x'\\n\\nAt:\\n  /models/broken/1/model.py(7): initialize\\n\"",
            ("broken", "ModuleNotFoundError: No module named 'x'"),
        ),
        (
            "E1 1 model_repository_manager.cc:1460] \"Poll failed for model directory 'odd': unexpected kind\"",
            ("odd", "unexpected kind"),
        ),
        (
            "E1 2 lifecycle.cc:642] \"failed to load 'big' version 1: Internal: Stub process 'b' is not healthy.\"",
            ("big", "its process died while loading, perhaps for want of memory"),
        ),
        (
            "error: creating server: Invalid argument - load failed for model 'both': in ensemble both, no such tensor",
            ("both", "in ensemble both, no such tensor"),
        ),
        ("I1 4587 model_lifecycle.cc:839] \"successfully loaded 'broken'\"", None),
    ],
)
def test_the_log_tells_which_model_failed_and_why(line, failure):
    assert process.failed_model(LOADING.format(line)) == failure


def test_a_canary_is_the_smallest_valid_request():
    config = text_format.Parse(
        """max_batch_size: 4
        input { name: "image" data_type: TYPE_UINT8 dims: [-1, -1, 3] }
        input { name: "scale" data_type: TYPE_FP16 dims: [2] }
        input { name: "text" data_type: TYPE_STRING dims: [1] }
        input { name: "flag" data_type: TYPE_BOOL dims: [1] }
        input { name: "seed" data_type: TYPE_INT64 dims: [1] optional: true }""",
        model_config_pb2.ModelConfig(),
    )
    request = control.canary("model", config)
    assert request.model_name == "model"
    assert request.parameters["canary"].bool_param
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in request.inputs] == [
        ("image", "UINT8", [1, 1, 1, 3]),
        ("scale", "FP16", [1, 2]),
        ("text", "BYTES", [1, 1]),
        ("flag", "BOOL", [1, 1]),
    ]
    assert list(request.raw_input_contents) == [bytes(3), bytes(4), bytes(4), bytes(1)]


def test_a_canary_sends_one_input_where_all_are_optional():
    config = text_format.Parse(
        'input { name: "text" data_type: TYPE_STRING dims: [1] optional: true } '
        'input { name: "seed" data_type: TYPE_INT64 dims: [1] optional: true }',
        model_config_pb2.ModelConfig(),
    )
    assert [(tensor.name, list(tensor.shape)) for tensor in control.canary("model", config).inputs] == [("text", [1])]


class Refusal(grpc.RpcError):
    def details(self):
        return "out of memory"


class FakeControl:
    """Answers canaries from a list and notes what is reloaded."""

    def __init__(self, *answers, states=(), failures=0):
        self.answers, self._states, self.failures, self.calls = list(answers), dict(states), failures, []

    def finds_dead(self, canary, decoupled):
        return self.answers.pop(0) if self.answers else False

    def states(self):
        return self._states

    def reload(self, model):
        self.calls.append(("reload", model))
        if self.failures:
            self.failures -= 1
            raise Refusal

    def load(self, model):
        self.calls.append(("load", model))


@pytest.fixture
def models(tmp_path):
    tensor = '{ name: "text" data_type: TYPE_STRING dims: [1] }'
    write(tmp_path, "tts", f"{PYTHON} input {tensor}")
    write(tmp_path, "assistant", ensemble("tts"))
    return repository.select(repository.read([tmp_path], "cpu"), [])


def until_back(said):
    """The lines that the watchdog says until a model is back."""
    lines = [said.get(timeout=10)]
    while "is back" not in lines[-1]:
        lines.append(said.get(timeout=10))
    return lines


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def test_a_model_counts_as_hung_when_it_leaves_a_canary_without_answer(models, pool):
    answer = threading.Event()
    access = FakeControl()
    access.finds_dead = lambda canary, decoupled: not answer.wait(30)
    patient = watchdog.Guard(models[0], psutil.Process(), access, Patience(0.0, 60.0), pool)
    impatient = watchdog.Guard(models[0], psutil.Process(), access, Patience(0.0, -1.0), pool)
    assert [patient.fault(), impatient.fault()] == [None, None]  # both send their canary
    assert patient.fault() is None
    assert "canary without answer" in impatient.fault()
    answer.set()


@pytest.mark.parametrize(("dead", "fault"), [(True, "its stub is dead"), (False, None)])
def test_the_answer_to_a_canary_tells_a_dead_stub(models, pool, dead, fault):
    guard = watchdog.Guard(models[0], psutil.Process(), FakeControl(dead), Patience(0.0, 60.0), pool)
    assert guard.fault() is None
    guard._finding.result(timeout=10)
    assert guard.fault() == fault


@pytest.fixture
def watched(models, monkeypatch):
    """Start a watchdog over the models with a fake control; yields a function that does so."""
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    running = []

    def start(access):
        said = queue.SimpleQueue()
        guard = Watchdog(psutil.Process(), access, models, Patience(0.0, 60.0), said.put)
        guard.start()
        running.append(guard)
        return guard, said

    yield start
    for each in running:
        each.stop()


def value(metric):
    return metric.labels("tts")._value.get()


def test_ensembles_that_did_not_follow_a_reload_are_loaded_too(watched):
    access = FakeControl(True, states={"tts": "READY", "assistant": "UNAVAILABLE"})
    guard, said = watched(access)
    until_back(said)
    assert access.calls == [("reload", "tts"), ("load", "assistant")]
    assert value(guard.metrics.restarts) == 1
    assert value(guard.metrics.up) == 1


def test_ensembles_that_followed_are_left_alone(watched):
    access = FakeControl(True, states={"tts": "READY", "assistant": "READY"})
    _, said = watched(access)
    until_back(said)
    assert access.calls == [("reload", "tts")]


def test_a_reload_that_fails_is_reported_and_tried_again(watched):
    access = FakeControl(True, states={"tts": "READY", "assistant": "READY"}, failures=2)
    guard, said = watched(access)
    lines = until_back(said)
    assert access.calls == [("reload", "tts")] * 3
    assert sum("did not load again: out of memory" in line for line in lines) == 2
    assert value(guard.metrics.restarts) == 1


def test_a_log_of_an_earlier_start_is_not_taken_for_this_one(tmp_path):
    log = tmp_path / "deep" / "server.log"
    log.parent.mkdir()
    log.write_text("successfully loaded 'old'")
    started = process.ServerProcess([sys.executable, "-c", "pass"], {}, log, "tritone_test_", 1.0)
    try:
        assert started.loaded() == set()
        assert log.stat().st_mode & 0o077 == 0  # others must not read the key
    finally:
        started.stop()
