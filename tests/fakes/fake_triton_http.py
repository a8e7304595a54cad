"""`fake_triton` over HTTP: Triton's `infer` with its binary extension, and `generate_stream`."""

import json
import select
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from fake_triton import PATIENCE_S, Behaviour
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

LENGTH = "Inference-Header-Content-Length"
CODES = {
    **{"INVALID_ARGUMENT": 400, "CANCELLED": 400, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "UNAVAILABLE": 503},
    **{"RESOURCE_EXHAUSTED": 429, "INTERNAL": 500, "UNKNOWN": 500, "UNIMPLEMENTED": 501},
}


class HttpTriton(Behaviour):
    """What it was asked: `requests` are the JSON (of `infer` its header), `tensors` what lay behind a header."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors = []
        self.retry_after = ""
        self.connections = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def triton(self) -> HttpTriton:
        return self.server.triton

    def do_GET(self):
        self.triton.metadata.append({name.lower(): value for name, value in self.headers.items()})
        is_ready = self.triton.ready if self.path == "/v2/health/ready" else self.path == "/v2/models/llava/ready"
        self._send(200 if is_ready else 400, b"")

    def do_POST(self):
        self.triton.metadata.append({name.lower(): value for name, value in self.headers.items()})
        self.triton.connections.add(self.client_address)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._infer(body) if self.path.endswith("/infer") else self._generate(body)

    def _infer(self, body):
        length = int(self.headers[LENGTH])
        request = json.loads(body[:length])
        self._record(request)
        place, tensors = length, []
        for tensor in request["inputs"]:
            size = tensor["parameters"]["binary_data_size"]
            tensors.append(body[place : place + size])
            place += size
        self.triton.tensors.append(tensors)
        order = str(deserialize_bytes_tensor(tensors[0])[0], "utf-8")
        code, sentence = self.triton.told(order)
        if code == "the call":
            return self._break()
        if code:
            headers = {"Retry-After": self.triton.retry_after} if self.triton.retry_after else {}
            return self._send(CODES[code], json.dumps({"error": sentence}).encode(), headers)
        if self._wait(order):
            return None
        answer, raw = {"model_name": "llava_answer", "model_version": "1", "outputs": []}, b""
        for name, value in (("text_output", order), ("finish_reason", "stop")):
            data = serialize_byte_tensor(np.array([value.encode()], object)).item()
            answer["outputs"].append(_output(name, "BYTES", data))
            raw += data
        for name, number in (("prompt_tokens", 5), ("completion_tokens", 2)):
            answer["outputs"].append(_output(name, "INT32", np.int32(number).tobytes()))
            raw += np.int32(number).tobytes()
        header = json.dumps(answer).encode()
        return self._send(200, header + raw, {LENGTH: str(len(header))})

    def _generate(self, body):
        request = json.loads(body)
        self._record(request)
        refused = bool(self.triton.refusals)
        order = request["text_input"]
        code, sentence = self.triton.told(order)
        coded = request["parameters"]["status"]
        if refused and code:
            said = json.dumps({"error": self.triton.written(code, sentence, coded)})
            return self._send(CODES[code], f"data: {said}\n\n".encode(), {"Content-Type": "text/event-stream"})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        numbers = {"model_name": "llava", "prompt_tokens": 5, "completion_tokens": 2}
        self._event({**numbers, "text_output": "one ", "finish_reason": ""})
        if code == "the call":
            return self._break()
        if code:
            self._event({"error": self.triton.written(code, sentence, coded)})
        elif self._wait(order):
            return None
        else:
            self._event({**numbers, "text_output": "two", "finish_reason": "stop"})
            self._event({"model_name": "llava", "model_version": "1"})  # the final flag comes empty
        return self._chunk(b"")

    def _record(self, request):
        self.triton.requests.append(request)
        self.triton.ids.append(request["id"])
        self.triton.timeouts.append(request["parameters"]["timeout"])

    def _wait(self, order) -> bool:
        """Whether this was all."""
        if order != "wait":
            return False
        self.triton.busy.set()
        select.select([self.connection], [], [], PATIENCE_S)  # nothing more comes but the end
        self.triton.left.set()
        self._break()
        return True

    def _break(self):
        self.close_connection = True

    def _event(self, content):
        self._chunk(b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n")

    def _chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _output(name, datatype, data):
    return {"name": name, "datatype": datatype, "shape": [1, 1], "parameters": {"binary_data_size": len(data)}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.open = set()

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        """Callers leave; nobody need read of it."""


def start(service: HttpTriton, context=None, port: int = 0) -> HttpTriton:
    """Serve on a free port unless told; `service.url` says which."""
    service.server = _Server(port)
    service.server.triton = service
    if context is not None:
        service.server.socket = context.wrap_socket(service.server.socket, server_side=True)
    service.url = f"http{'s' if context else ''}://127.0.0.1:{service.server.server_address[1]}"
    threading.Thread(target=service.server.serve_forever, args=(0.05,), daemon=True).start()
    return service


def stop(service: HttpTriton) -> None:
    """End it, whoever waits."""
    service.server.shutdown()
    service.server.server_close()
    for connection in service.server.open:
        try:
            connection.shutdown(2)
        except OSError:
            continue  # it has ended already
