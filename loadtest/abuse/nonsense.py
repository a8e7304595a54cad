"""Requests that nobody means, from a seed: wrong names, dtypes and shapes, nothing, NaN, broken text and JSON."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from abuse import catalogue
from abuse.wire import add

MOST_ELEMENTS = 20_000  # of a random tensor: nonsense, not load
NUMPY = {
    "BYTES": np.object_, "BOOL": np.bool_, "UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
TEXTS = (
    b"", b" ", b"\x00", b"\xff\xfe\xfa", b"\xed\xa0\x80", "\u202e\u0000\U0010ffff".encode(), b"x" * 300_000,
    "图".encode() * 50, b"9" * 60 + b"th", b"1" * 50 + b" km", "٣٤٥ 公里".encode(), b"%s%n{}$(id)", b"{", b"[]",
    b'[{"role": 5}]', b"[" * 5_000, b"null", b"../../etc/passwd", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"\x89PNG\r\n\x1a\n",
    b"fLaC" + b"\xff" * 60, b"GIF89a" + b"\x00" * 20, b"opus", b"zz", b"<image>" * 50, b"a red circle",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2, 1e9, -1e9, 2**31 - 1, -(2**31), float("nan"), float("inf"), -float("inf"), 1e-45, 3.7)
PARAMETERS = ("priority", "timeout", "sequence_id", "binary_data_output", "classification", "unheard_of", "headers")
JUNK = ("[" * 20_000, "{", '{"inputs": 5}', "null", '"text"', '{"inputs":[{"name":5}]}', "\x00" * 100, "{}" * 50)


def grpc_request(random: Random, model: str) -> Any:
    """A ModelInferRequest that is wrong in some way, or odd in every value."""
    request = service_pb2.ModelInferRequest(model_name=model, id=random.choice(("", "7", "x" * 5_000)))
    for name, datatype, dims, optional in catalogue.inputs(model):
        if random.random() < (0.5 if optional else 0.1):
            continue
        _input(random, request, name, datatype, dims)
    if random.random() < 0.1:
        add(request, "nobody", np.zeros((1, 1), np.float32))
    if random.random() < 0.1:
        request.outputs.add(name="nothing")
    if random.random() < 0.15:
        _parameter(random, request)
    if random.random() < 0.05:
        request.model_version = random.choice(("99", "-1", "one", "1"))
    if random.random() < 0.05 and request.raw_input_contents:
        request.raw_input_contents.pop()
    return request


def _input(random: Random, request: Any, name: str, datatype: str, dims: list[int]) -> None:
    said = random.choice(list(NUMPY)) if random.random() < 0.1 else datatype
    shape = [random.choice((1, 1, 1, 1, 0, 2, 3)), *(_length(random) if dim < 0 else dim for dim in dims)]
    if random.random() < 0.15:
        random.choice((lambda: shape.append(2), shape.pop, lambda: shape.insert(0, 1)))()
    if abs(int(np.prod(shape))) > MOST_ELEMENTS:
        shape = shape[:1] + [min(length, 8) for length in shape[1:]]
    add(request, name, _values(random, datatype, shape), said)
    if random.random() < 0.08:  # what is said is not what is sent
        request.inputs[-1].shape[:] = random.choice(([1, -1], [1, 2**40], [], [2**62, 4], [1, 1, 1, 1, 1, 1]))
    if random.random() < 0.05:
        request.raw_input_contents[-1] = random.choice((b"", b"\xff\xff\xff\xff", b"\x05\x00\x00\x00ab", b"x" * 4_096))


def _length(random: Random) -> int:
    return random.choice((1, 2, 3, 8, 16, 80, 200, 3_000))


def _values(random: Random, datatype: str, shape: list[int]) -> np.ndarray:
    count = int(np.prod(shape)) if shape else 1
    if datatype == "BYTES":
        flat: np.ndarray = np.empty(count, np.object_)
        flat[:] = [random.choice(TEXTS) for _ in range(min(count, 3))] + [b"x"] * (count - min(count, 3))
    else:
        number = random.choice(NUMBERS)
        with np.errstate(all="ignore"):
            flat = np.full(count, np.nan_to_num(number, posinf=1e30, neginf=-1e30) if "INT" in datatype else number)
            flat = flat.astype(NUMPY[datatype])
    return flat.reshape(shape)


def _parameter(random: Random, request: Any) -> None:
    value = request.parameters[random.choice(PARAMETERS)]
    random.choice(
        (
            lambda: setattr(value, "string_param", "\u0000x"),
            lambda: setattr(value, "int64_param", -(2**63)),
            lambda: setattr(value, "bool_param", True),
            lambda: setattr(value, "double_param", float("nan")),
        )
    )()


def http_request(random: Random, model: str) -> tuple[str, bytes]:
    """Path and body of an odd request to the generate, generate_stream or infer endpoint."""
    verbs = ("generate_stream",) if catalogue.is_decoupled(model) else ("generate", "infer", "generate")
    verb = random.choice(verbs)
    if random.random() < 0.15:
        body = random.choice(JUNK).encode()
    else:
        body = json.dumps(_infer_body(random, model) if verb == "infer" else _generate_body(random, model)).encode()
    return f"/v2/models/{model}/{verb}", body


def _generate_body(random: Random, model: str) -> dict[str, Any]:
    chosen = [each for each in catalogue.inputs(model) if random.random() < (0.4 if each[3] else 0.9)]
    body = {name: _json_value(random, datatype) for name, datatype, _, _ in chosen}
    return body | ({"unheard_of": {"deep": [1, None]}} if random.random() < 0.15 else {})


def _infer_body(random: Random, model: str) -> dict[str, Any]:
    tensors = [
        {
            "name": name,
            "datatype": datatype if random.random() < 0.9 else random.choice(list(NUMPY)),
            "shape": random.choice(([1, 1], [1], [2, 1], [], [1, -1], ["1", 1], [1, 2**20])),
            "data": random.choice(([_json_value(random, datatype)], [], None, "x", [[1], [2, 3]])),
        }
        for name, datatype, _, optional in catalogue.inputs(model)
        if random.random() < (0.4 if optional else 0.9)
    ]
    return {"inputs": tensors, "parameters": random.choice(({}, {"unheard_of": 1}, {"priority": "x"}))}


def claim(model: str) -> tuple[str, bytes]:
    """Path and body of a hundred bytes that claim 2**40 elements: server 2.51 may die of it, so it comes last."""
    name, datatype, _, _ = catalogue.inputs(model)[0]
    tensor = {"name": name, "datatype": datatype, "shape": [1, 2**40], "data": [1]}
    return f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode()


def _json_value(random: Random, datatype: str) -> Any:
    if random.random() < 0.15:
        return random.choice((None, {}, [], [None], True, "text", -1, 1e300, [1, "2"]))
    if datatype == "BYTES":
        words = random.choice(TEXTS)
        return random.choice((words.decode("utf-8", "replace"), base64.b64encode(words[:60]).decode()))
    return random.choice((0, -1, 1, 2**31, 2**63, 0.5, 1e30, True))
