"""What `tritone serve` decides before and beside the server: models, configs, refusals, environment, canaries."""

import socket
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tritone.server import cli as server
from tritone.server import control, repository, start_checks, tritonserver
from tritone.server.repository import CannotStart
from tritone.server.tritonserver import Ports, Tritonserver

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

    def test_what_says_what_there_is_is_always_there(self, models, tmp_path):
        write(tmp_path, "catalog")
        models = repository.read([tmp_path], "cpu")
        assert names(repository.select(models, ["whisper"])) == ["whisper", "catalog"]
        assert names(repository.select(models, ["catalog"])) == ["catalog"]

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

    def test_what_lies_below_a_model_and_who_may_wait_for_it(self, models):
        assert repository.below("wrapper", models) == {"assistant", "transcribe", "decoder", "whisper", "tts"}
        assert repository.neighbours("transcribe", models) == {"assistant", "decoder", "whisper"}
        assert repository.neighbours("whisper", models) == {"transcribe"}

    def test_stubs_are_counted_as_triton_starts_them(self, tmp_path):
        write(tmp_path, "two", f"{PYTHON} instance_group {{ kind: KIND_CPU count: 2 }}")
        write(tmp_path, "plain")
        write(tmp_path, "both", ensemble("two", "plain"))
        read = repository.read([tmp_path], "cpu")
        assert {name: model.stubs() for name, model in read.items()} == {"two": 2, "plain": 1, "both": 0}


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
        opened = tritonserver.command(self.IMAGE, tmp_path, Ports("0.0.0.0", 1, 2, 3, 4, "10.0.0.1"), "secret")
        assert {"--http-address=0.0.0.0", "--grpc-address=0.0.0.0", "--metrics-address=10.0.0.1"} <= set(opened)

    def test_models_know_the_marks_that_the_front_ends_set(self, tmp_path):
        """All but those of the generate extension, which hands no header on."""
        arguments = tritonserver.command(self.IMAGE, tmp_path, self.PORTS, "secret")
        assert {"--http-header-forward-pattern=(?i)^host$", "--grpc-header-forward-pattern=^user-agent$"} <= {
            *arguments
        }
        assert tritonserver.environment(self.IMAGE, tmp_path, None)["TRITONE_MARKS"] == "host,user-agent"

    @pytest.mark.parametrize(("version", "bounded"), [((2, 51), False), ((2, 59), True), (None, False)])
    def test_a_server_that_bounds_http_bodies_takes_our_largest_request(self, tmp_path, version, bounded):
        server = Tritonserver(self.IMAGE.binary, "here", version=version)
        arguments = tritonserver.command(server, tmp_path, self.PORTS, "secret")
        options = [argument for argument in arguments if argument.startswith("--http-max-input-size=")]
        pictures = 8 * 33_554_432  # max_pictures and max_image_bytes of `llava`
        assert bool(options) == bounded
        assert all(int(option.partition("=")[2]) > pictures * 4 / 3 for option in options)

    def test_a_user_without_a_home_still_has_a_place_for_compiled_code(self, tmp_path, monkeypatch):
        """Tacotron's features come from librosa, whose numba functions need one to be imported at all."""
        monkeypatch.setenv("HOME", "/nonexistent")
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        env = tritonserver.environment(self.IMAGE, tmp_path, None)
        assert env["NUMBA_CACHE_DIR"] == str(tmp_path / "numba")

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

    def test_on_a_gpu_attention_needs_no_plan_for_each_length(self, tmp_path):
        assert tritonserver.environment(self.IMAGE, tmp_path, None)["TORCH_CUDNN_SDPA_DEPRIORITIZED"] == "1"

    def test_the_wheels_stub_is_executable_and_finds_its_libraries(self, tmp_path):
        found = tritonserver.find()
        env = tritonserver.environment(found, tmp_path, None)
        backend = tmp_path / "backends" / "python"
        assert (backend / "triton_python_backend_stub").stat().st_mode & 0o111 == 0o111
        assert {path.name for path in backend.iterdir()} >= {"libtriton_python.so", "triton_python_backend_utils.py"}
        folders = [Path(folder) for folder in env["LD_LIBRARY_PATH"].split(":")]
        assert any(list(folder.glob("libpython3.*.so*")) for folder in folders[1:])
        assert Path(env["PATH"].split(":")[0], "python3").exists()

    def test_the_device_chooses_the_configuration(self, monkeypatch):
        monkeypatch.setattr(tritonserver, "has_gpu", lambda: True)
        assert [server._config_name(device) for device in ("auto", "gpu", "cpu")] == [None, None, "cpu"]
        monkeypatch.setattr(tritonserver, "has_gpu", lambda: False)
        assert [server._config_name(device) for device in ("auto", "cpu")] == ["cpu", "cpu"]
        with pytest.raises(CannotStart, match="no NVIDIA GPU"):
            server._config_name("gpu")

    def test_a_configuration_by_name_finds_no_gpu_where_there_is_none(self, monkeypatch):
        monkeypatch.setattr(tritonserver, "has_gpu", lambda: False)
        assert [server._config_name(device, "l4") for device in ("auto", "cpu")] == ["l4", "l4"]
        with pytest.raises(CannotStart, match="no NVIDIA GPU"):
            server._config_name("gpu", "l4")

    def test_a_configuration_by_name_is_taken_where_a_model_has_it(self, tmp_path):
        write(tmp_path, "varied", parameter("checkpoint", "large"))
        write(tmp_path, "varied", parameter("checkpoint", "small"), variant="l4")
        assert repository.read([tmp_path], server._variant("l4", [tmp_path]))["varied"].checkpoint == "small"
        assert server._variant("", [tmp_path]) == ""
        with pytest.raises(CannotStart, match=r"--config-name is 'l5', but no model has a configs/l5.pbtxt"):
            server._variant("l5", [tmp_path])

    def test_a_port_given_twice_is_refused(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(
            CannotStart, match=f"port {port} is given twice, for --http-port and --watchdog-metrics-port"
        ):
            start_checks.check_ports(Ports("127.0.0.1", port, 1 + port % 60000, 2 + port % 60000, port))


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


def test_a_deep_canary_says_so_and_both_kinds_carry_the_token():
    plain, deep = (
        control.canary("model", model_config_pb2.ModelConfig(), "secret", deep=deep).parameters
        for deep in (False, True)
    )
    assert plain["canary"].bool_param
    assert deep["canary"].string_param == "deep"
    assert deep["status"].bool_param  # or a decoupled model's error would not say of what kind it is
    assert plain["token"].string_param == deep["token"].string_param == "secret"
