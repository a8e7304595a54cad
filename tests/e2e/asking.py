"""Asking a throw-away server and looking at what it says of itself."""

import contextlib
import http.client
import json
import sys
import threading
import time

import grpc
import numpy as np
import tritonclient.grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tritone.server import background

BACK_WITHIN_S = 15  # the bound, beyond a load time that is a second here
STOPS_WITHIN_S = 15  # 3 s when idle, 6 s with an idle connection; a busy machine needs more


def ask(address, model, text=b"hello", timeout=10):
    """The model's answer to a text."""
    with tritonclient.grpc.InferenceServerClient(address.grpc) as client:
        tensor = tritonclient.grpc.InferInput("text", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text]], np.object_))
        return client.infer(model, [tensor], client_timeout=timeout).as_numpy("text_output")[0, 0]


def stream(address, model, text=b"hello"):
    """All answers of a decoupled model."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(len(text).to_bytes(4, "little") + text)
    with grpc.insecure_channel(address.grpc) as channel:
        responses = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([request]), timeout=10)
        return [response.error_message or response.infer_response.raw_output_contents[0][4:] for response in responses]


def until(condition, what, within_s=BACK_WITHIN_S):
    """Wait for a condition; returns the seconds it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s, f"not within {within_s} s: {what}"
    return time.monotonic() - start


def answers(call):
    """Whether a call goes through."""
    with contextlib.suppress(InferenceServerException):
        call()
        return True
    return False


def http_status(address, method, path, body=None):
    connection = http.client.HTTPConnection(address.http, timeout=10)
    try:
        connection.request(method, path, body=body)
        return connection.getresponse().status
    finally:
        connection.close()


def scrape(address):
    """The watchdog's metrics: the name with its labels → value."""
    connection = http.client.HTTPConnection(address.watchdog, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def restarts(address, model):
    return scrape(address)[f'tritone_stub_restarts_total{{model="{model}"}}']


@contextlib.contextmanager
def asking_all_the_time(address, model):
    """Ask a model again and again in another thread; yields the answers, errors among them."""
    answers, done = [], threading.Event()

    def run():
        while not done.is_set():
            try:
                answers.append(ask(address, model))
            except InferenceServerException as error:
                answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield answers
    finally:
        done.set()
        thread.join()


def ready(address):
    """The status of /ready and what it says."""
    connection = http.client.HTTPConnection(address.watchdog, timeout=10)
    connection.request("GET", "/ready")
    answer = connection.getresponse()
    status, body = answer.status, json.loads(answer.read())
    connection.close()
    return status, body


def serve_command(*options):
    ports = zip(("http", "grpc", "metrics", "watchdog-metrics"), background.free_ports(4), strict=True)
    return [
        sys.executable,
        "-m",
        "tritone.server",
        "serve",
        *(f"--{name}-port={port}" for name, port in ports),
        *options,
    ]
