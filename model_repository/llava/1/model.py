"""LLaVA, streaming: a picture and a question in, the answer piece by piece. The model is tritone/language/llava.py."""

from contextlib import aclosing
from dataclasses import asdict

from tritone import checkpoints, imports, serving
from tritone.serving.threads import in_thread


class Settings(serving.DoorSettings):
    checkpoint: str
    engine: str
    dtype: str
    quantization: str
    attn_implementation: str
    device_map: str
    cuda_graphs: bool
    tensor_parallel_size: int
    slots: int
    max_length: int
    max_queue: int
    prefill_chunk: int
    stream_interval_ms: int
    memory_reserve: float
    enable_prefix_caching: bool
    max_characters: int
    max_pictures: int
    max_image_bytes: int
    max_pixels: int
    max_total_pixels: int
    max_tokens: int


class TritonPythonModel:
    def initialize(self, args):
        with imports.for_serving("torchvision", "peft", "bitsandbytes", imports.DISTRIBUTED):
            from tritone.language.llava import Capacity, Limits, Llava, Loading

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        limits, loading, capacity = (settings.part(kind) for kind in (Limits, Loading, Capacity))
        folder, adapters = checkpoints.path(settings.checkpoint), checkpoints.root() / "adapters"
        self.llava = Llava.load(folder, self.triton.device, limits, loading, capacity, adapters)
        self.triton.log(self.llava.describe())
        self.triton.publish(self.llava.engine.statistics.measurements)
        self.triton.watch(self.llava.engine.fault)
        self.triton.probe(self.llava.say_something)
        at_once = settings.at_once or self.llava.engine.statistics.slots
        self.triton.open_door(settings.model_copy(update={"at_once": at_once}))
        self.triton.tell(checkpoint=folder.name, **self.llava.facts())

    def execute(self, requests):
        self.triton.stream(requests, self._answer)

    def finalize(self):
        self.llava.close()

    async def _answer(self, **inputs):
        chat = await in_thread(self.llava.prepare, **inputs)
        async with aclosing(self.llava.stream(chat)) as pieces:
            async for piece in pieces:
                yield {"text_output": piece.text, **{k: v for k, v in asdict(piece).items() if k != "text"}}
