"""`tritone serve` with the real server and throw-away models: start, refusals, closed APIs, dead stubs, clean stop."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc
from e2e import throwaway
from e2e.asking import (
    STOPS_WITHIN_S,
    answers,
    ask,
    asking_all_the_time,
    http_status,
    ready,
    restarts,
    scrape,
    serve_command,
    stream,
    until,
)
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tritone.server import background, leftovers

pytestmark = pytest.mark.e2e


@pytest.fixture
def models(tmp_path):
    """A repository with one echoing model."""
    throwaway.write_model(tmp_path / "models", "echo")
    return tmp_path / "models"


@pytest.fixture(scope="module")
def small_server(tmp_path_factory):
    """Two echoing models, a decoupled one, and an ensemble of the first two, under an impatient watchdog."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("echo", "other"):
        throwaway.write_model(folder / "models", name)
    throwaway.write_model(
        folder / "models", "counting", code=throwaway.DECOUPLED, model_transaction_policy="{ decoupled: true }"
    )
    throwaway.write_ensemble(folder / "ensembles", "both", "echo", "other")
    impatient = ("--canary-interval=0.5", "--hung-after=2")
    repositories = [f"--model-repository={folder / name}" for name in ("models", "ensembles")]
    said = []
    log = folder / "log" / "server.log"
    with background.serve(*repositories, *impatient, log_file=log, report=said.append, timeout_s=60) as address:
        yield address, said, log


def test_says_what_it_found_and_where_it_listens(small_server):
    address, said, log = small_server
    assert said[0].startswith("tritonserver from ")
    assert str(log) in said[0]
    ready = next(line for line in said if line.startswith("ready:"))
    assert address.http in ready
    assert address.grpc in ready
    assert {line.split()[1] for line in said if line.startswith("loaded ")} == {"echo", "other", "counting", "both"}


def test_models_decoupled_models_and_ensembles_answer(small_server):
    address, _, _ = small_server
    assert ask(address, "echo", "三全音".encode()) == "三全音".encode()
    assert ask(address, "both") == b"hello"
    assert stream(address, "counting") == [b"hello", b"hello"]


def test_stubs_run_in_this_environment_in_utf8_without_downloads(small_server):
    address, _, _ = small_server
    seen = json.loads(ask(address, "echo", b"environment"))
    assert seen["encoding"] == "utf-8"
    assert seen["numpy"] == np.__version__
    assert seen["variables"]["HF_HUB_OFFLINE"] == "1"
    assert int(seen["variables"]["OMP_NUM_THREADS"]) >= 1
    folder = pathlib.Path(seen["variables"]["TMPDIR"])  # the run's own, which goes with it, whoever is killed
    assert pathlib.Path(seen["variables"]["TRITONE_PULSE"]).parent == folder


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/systemsharedmemory/region/mine/register"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/cudasharedmemory/region/mine/register"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/echo/load"),
        ("POST", "/v2/repository/models/echo/unload"),
        ("GET", "/v2/trace/setting"),
        ("GET", "/v2/logging"),
    ],
)
def test_http_clients_cannot_control_the_server(small_server, method, path):
    address, _, _ = small_server
    assert http_status(address, method, path, body=b"{}" if method == "POST" else None) == 403
    assert ask(address, "echo") == b"hello"


@pytest.mark.parametrize(
    ("call", "request_type"),
    [
        ("SystemSharedMemoryRegister", service_pb2.SystemSharedMemoryRegisterRequest),
        ("CudaSharedMemoryRegister", service_pb2.CudaSharedMemoryRegisterRequest),
        ("RepositoryIndex", service_pb2.RepositoryIndexRequest),
        ("RepositoryModelLoad", service_pb2.RepositoryModelLoadRequest),
        ("RepositoryModelUnload", service_pb2.RepositoryModelUnloadRequest),
        ("TraceSetting", service_pb2.TraceSettingRequest),
        ("LogSettings", service_pb2.LogSettingsRequest),
    ],
)
def test_grpc_clients_cannot_control_the_server(small_server, call, request_type):
    address, _, _ = small_server
    with grpc.insecure_channel(address.grpc) as channel:
        method = getattr(service_pb2_grpc.GRPCInferenceServiceStub(channel), call)
        with pytest.raises(grpc.RpcError, match="This protocol is restricted"):
            method(request_type(), timeout=10)


@pytest.mark.parametrize("model", ["echo", "counting"])
def test_a_killed_stub_comes_back_while_others_keep_answering(small_server, model):
    address, said, log = small_server
    before = restarts(address, model)
    with asking_all_the_time(address, "other") as others:
        (stub,) = throwaway.stubs(address.process, model)
        stub.kill()
        if model == "counting":
            until(lambda: stream(address, model) == [b"hello", b"hello"], "the stream is back")
        else:
            until(lambda: answers(lambda: ask(address, model)), "the model is back")
            until(lambda: answers(lambda: ask(address, "both")), "the ensemble is back")
        until(lambda: restarts(address, model) > before, "the restart is counted")
    assert len(others) > 10
    assert set(others) == {b"hello"}
    assert restarts(address, model) == before + 1
    assert [new.pid for new in throwaway.stubs(address.process, model)] != [stub.pid]
    event = f"watchdog: model '{model}': stub process {stub.pid} is dead"
    until(lambda: any(event in line for line in said), event)
    assert event in log.read_text(encoding="utf-8")


def test_two_parts_of_an_ensemble_that_die_together_come_back_with_it(small_server):
    address, _, _ = small_server
    for model in ("echo", "other"):
        throwaway.stubs(address.process, model)[0].kill()
    until(lambda: answers(lambda: ask(address, "both")), "the ensemble is back")
    until(lambda: scrape(address)['tritone_model_up{model="other"}'] == 1, "the watchdog knows")
    assert ready(address)[0] == 200


def test_a_hung_model_comes_back_and_its_caller_gets_an_error(small_server):
    address, _, _ = small_server
    before = restarts(address, "echo")
    with asking_all_the_time(address, "other") as others:
        with pytest.raises(InferenceServerException, match="not healthy"):
            ask(address, "echo", b"hang", timeout=60)
        until(lambda: answers(lambda: ask(address, "echo")), "the model is back")
        until(lambda: restarts(address, "echo") > before, "the restart is counted")
    assert set(others) == {b"hello"}
    assert restarts(address, "echo") == before + 1


def test_canaries_alone_restart_nothing(small_server):
    """Several canaries pass every model; an answer, and be it an error, is a sign of life."""
    address, _, _ = small_server
    before = {name: restarts(address, name) for name in ("echo", "other", "counting")}

    def canaries():
        with tritonclient.grpc.InferenceServerClient(address.grpc) as client:
            statistics = client.get_inference_statistics("other", as_json=True)
        return int(statistics["model_stats"][0].get("inference_count", 0))  # JSON leaves zeros out

    start = canaries()
    until(lambda: canaries() >= start + 3, "canaries arrive")
    assert {name: restarts(address, name) for name in before} == before


def test_a_model_that_does_not_load_again_is_tried_until_it_does(tmp_path):
    obstacle = tmp_path / "obstacle"
    check = f"assert not os.path.exists('{obstacle}'), 'an obstacle'"
    throwaway.write_model(tmp_path / "models", "echo", initialize=check)
    said, log = [], tmp_path / "log"
    with background.serve(f"--model-repository={tmp_path / 'models'}", log_file=log, report=said.append) as address:
        obstacle.touch()
        throwaway.stubs(address.process, "echo")[0].kill()
        refused = "'echo' did not load again: "
        until(lambda: any(refused in line and "an obstacle" in line for line in said), refused)
        assert scrape(address)['tritone_model_up{model="echo"}'] == 0
        obstacle.unlink()
        until(lambda: scrape(address)['tritone_model_up{model="echo"}'] == 1, "the model is back")
        assert ask(address, "echo") == b"hello"
        assert restarts(address, "echo") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_within_seconds_despite_an_idle_connection_and_leaves_nothing(models, tmp_path, number):
    with background.serve(f"--model-repository={models}", log_file=tmp_path / "log") as address:
        idle = http.client.HTTPConnection(address.http, timeout=10)
        idle.request("GET", "/v2/health/ready")
        assert idle.getresponse().read() == b""
        children = psutil.Process(address.process.pid).children(recursive=True)
        regions = list(pathlib.Path("/dev/shm").glob(f"tritone_{address.process.pid}_*"))
        assert len(children) >= 2  # the server and a stub
        assert regions
        start = time.monotonic()
        address.process.send_signal(number)
        assert address.process.wait(STOPS_WITHIN_S) == 0
        assert time.monotonic() - start < STOPS_WITHIN_S
        idle.close()
    assert not psutil.wait_procs(children, timeout=2)[1]
    assert not [region for region in regions if region.exists()]


def test_stops_while_models_are_loading(tmp_path):
    throwaway.write_model(tmp_path / "models", "slow", initialize="time.sleep(3600)")
    log = tmp_path / "log"
    command = serve_command(f"--model-repository={tmp_path / 'models'}", f"--log-file={log}", "--stop-timeout=1")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: throwaway.stubs(process, "slow"), "the stub starts", within_s=30)
        children = psutil.Process(process.pid).children(recursive=True)
        (port,) = [option.partition("=")[2] for option in command if option.startswith("--watchdog-metrics-port=")]
        starting = background.Address(process, "", "", "", f"127.0.0.1:{port}")
        assert ready(starting) == (
            503,
            {"ready": False, "phase": "starting", "models": {"slow": "loading"}, "fault": ""},
        )
        process.terminate()
        assert process.wait(STOPS_WITHIN_S) == 0
    finally:
        process.kill()
    assert not psutil.wait_procs(children, timeout=2)[1]


def test_says_so_when_the_server_itself_dies(models, tmp_path):
    said = []
    with background.serve(f"--model-repository={models}", log_file=tmp_path / "log", report=said.append) as address:
        (stub,) = throwaway.stubs(address.process, "echo")
        stub.parent().kill()
        assert address.process.wait(STOPS_WITHIN_S) == 1
        assert not psutil.wait_procs([stub], timeout=2)[1]
    assert any("tritonserver has died (signal SIGKILL)" in line for line in said)


def test_a_killed_tritone_takes_its_server_along(models, tmp_path):
    with background.serve(f"--model-repository={models}", log_file=tmp_path / "log") as address:
        children = psutil.Process(address.process.pid).children(recursive=True)
        address.process.kill()
        assert not psutil.wait_procs(children, timeout=STOPS_WITHIN_S)[1]
        leftovers.remove()
        assert not list(pathlib.Path("/dev/shm").glob(f"tritone_{address.process.pid}_*"))


# ---- refusals


def refusal(*options, **variables):
    """The one line that `tritone serve` says when it refuses to start."""
    run = subprocess.run(
        serve_command(*options), env={**os.environ, **variables}, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "ready" not in run.stdout
    (line,) = run.stderr.splitlines()
    return line


def test_refuses_a_port_that_is_taken(models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal(f"--model-repository={models}", f"--grpc-port={port}")
    assert f"port {port}" in line
    assert "--grpc-port" in line


def test_refuses_a_log_that_cannot_be_written(models, tmp_path):
    (tmp_path / "file").touch()
    line = refusal(f"--model-repository={models}", f"--log-file={tmp_path / 'file' / 'server.log'}")
    assert str(tmp_path / "file" / "server.log") in line
    assert "or - for the output" in line


def test_refuses_to_start_without_a_folder_for_temporary_files(models, tmp_path):
    no_folder = "import tempfile; tempfile.tempdir = '/proc/nowhere'"
    (tmp_path / "sitecustomize.py").write_text(no_folder)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    line = refusal(f"--model-repository={models}", f"--log-file={tmp_path / 'log'}", PYTHONPATH=path)
    assert "no folder for temporary files" in line
    assert "$TMPDIR" in line


def test_refuses_an_unknown_model(models):
    line = refusal(f"--model-repository={models}", "--models=whisperer")
    assert "no model 'whisperer'" in line
    assert "echo" in line


def test_refuses_when_a_checkpoint_is_missing(models, tmp_path):
    throwaway.write_model(models, "speaker", parameters=throwaway.parameter("checkpoint", "tts"))
    line = refusal(f"--model-repository={models}", TRITONE_CHECKPOINTS=str(tmp_path / "tiny"))
    assert "model 'speaker'" in line
    assert "'tts'" in line
    assert "scripts/fetch_checkpoints.py" in line


def test_a_missing_checkpoint_matters_only_to_models_that_are_loaded(models, tmp_path, monkeypatch):
    throwaway.write_model(models, "speaker", parameters=throwaway.parameter("checkpoint", "tts"))
    monkeypatch.setenv("TRITONE_CHECKPOINTS", str(tmp_path / "tiny"))
    with background.serve(f"--model-repository={models}", "--models=echo", log_file=tmp_path / "log") as address:
        assert ask(address, "echo") == b"hello"
        with pytest.raises(InferenceServerException, match="unknown model"):
            ask(address, "speaker")


def test_refuses_numpy_2_beside_the_stub_of_2_51(models, tmp_path):
    metadata = tmp_path / "packages" / "numpy-2.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.1.0\n")
    line = refusal(f"--model-repository={models}", PYTHONPATH=str(tmp_path / "packages"))
    assert "numpy 2.1.0" in line
    assert "pip install 'numpy<2'" in line


def test_refuses_a_model_that_does_not_load_and_names_the_cause(models, tmp_path):
    throwaway.write_model(models, "broken", initialize="import no_such_package")
    throwaway.write_ensemble(tmp_path / "ensembles", "chain", "echo", "broken")
    log = tmp_path / "log"
    repositories = [f"--model-repository={folder}" for folder in (models, tmp_path / "ensembles")]
    line = refusal(*repositories, f"--log-file={log}")
    assert "model 'broken' failed to load: ModuleNotFoundError: No module named 'no_such_package'" in line
    assert str(log) in line
    assert "no_such_package" in refusal(*repositories, "--log-file=-")  # no file to read: still the cause


def test_refuses_a_pipeline_whose_child_is_missing(models):
    throwaway.write_model(models, "pipeline", parameters=throwaway.parameter("calls", "echo, decoder"))
    line = refusal(f"--model-repository={models}", "--models=pipeline")
    assert "model 'pipeline' needs model 'decoder'" in line


def test_refuses_a_tritonserver_that_is_none(models, tmp_path):
    line = refusal(f"--model-repository={models}", TRITONSERVER=str(tmp_path / "tritonserver"))
    assert "$TRITONSERVER" in line
    assert str(tmp_path / "tritonserver") in line
