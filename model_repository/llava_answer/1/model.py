"""The unary face of `llava`: its whole answer in one response, for ensembles and for plain infer calls."""

from contextlib import aclosing

from tritone import serving
from tritone.serving import bls

OUTPUTS = (
    *("text_output", "finish_reason", "prompt_tokens", "image_tokens", "completion_tokens"),
    "logprobs_content",
)


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.triton.open_door(self.triton.settings(serving.DoorSettings))
        self.triton.tell()

    def execute(self, requests):
        return self.triton.answer_later(requests, self._answer)

    async def _answer(self, **inputs):
        stream = bls.call_stream("llava", {**inputs, "stream_unit": "none"}, OUTPUTS)
        async with aclosing(stream) as pieces:
            # Unit "none": everything comes in one piece.
            return [{name: value[0] for name, value in piece.items()} async for piece in pieces][-1]
