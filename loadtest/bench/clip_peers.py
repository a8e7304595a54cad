"""The same CLIP checkpoint, served as one would with other servers. `clip.py` starts them and measures them beside us.

    python loadtest/bench/clip_peers.py fastapi CHECKPOINT PORT

Every peer has transformers' own CLIPModel and CLIPProcessor and the same two calls: a text, or a picture's bytes, in;
its unit vector out. Texts are padded to 77 tokens, as the processor is usually asked to do so that texts batch.
"""

import base64
import io
import os
from pathlib import Path

import litserve
import numpy as np
import torch
import typer
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

app = typer.Typer(add_completion=False)
BATCH = 16  # most that a batching peer computes at a time; larger ones gain nothing on a CPU
WAIT_S = 0.01  # how long a batching peer waits for more; requests queue up anyway while a batch is computed


class Clip:
    """The networks, called as the documentation of transformers shows."""

    def __init__(self, checkpoint: str | Path) -> None:
        self.model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self.processor = CLIPProcessor.from_pretrained(checkpoint)

    @torch.inference_mode()
    def embed_texts(self, texts: list[str], padding: str | bool = "max_length") -> np.ndarray:
        """Unit vectors float32 (texts, width)."""
        inputs = self.processor(text=texts, padding=padding, truncation=True, return_tensors="pt")
        embeds = self.model.get_text_features(**inputs).pooler_output
        return torch.nn.functional.normalize(embeds, dim=-1).numpy()

    @torch.inference_mode()
    def embed_images(self, files: list[bytes]) -> np.ndarray:
        """Unit vectors float32 (pictures, width)."""
        embeds = self.model.get_image_features(self.pixel_values(files)).pooler_output
        return torch.nn.functional.normalize(embeds, dim=-1).numpy()

    def pixel_values(self, files: list[bytes]) -> torch.Tensor:
        """Files to float32 (pictures, 3, 224, 224)."""
        pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
        return self.processor(images=pictures, return_tensors="pt")["pixel_values"]


@app.command()
def fastapi(checkpoint: Path, port: int) -> None:
    """FastAPI on uvicorn: one request after the other."""
    import uvicorn
    from fastapi import FastAPI, Request

    clip, web = Clip(checkpoint), FastAPI()

    @web.post("/text")
    async def text(request: Request) -> list[float]:
        return clip.embed_texts([(await request.body()).decode()])[0].tolist()

    @web.post("/image")
    async def image(request: Request) -> list[float]:
        return clip.embed_images([await request.body()])[0].tolist()

    uvicorn.run(web, host="127.0.0.1", port=port, log_level="error")


class Api(litserve.LitAPI):
    """What the two LitServe APIs share; classes of a module, as LitServe pickles them."""

    def __init__(self, checkpoint: Path, api_path: str) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WAIT_S, api_path=api_path)
        self.checkpoint = checkpoint

    def setup(self, device: str) -> None:
        """Called in the worker's process."""
        self.clip = Clip(self.checkpoint)

    def encode_response(self, output: np.ndarray) -> list[float]:
        """JSON."""
        return output.tolist()


class TextApi(Api):
    """{"text": ...} in."""

    def decode_request(self, request: dict[str, str]) -> str:
        """The text."""
        return request["text"]

    def predict(self, inputs: list[str]) -> list[np.ndarray]:
        """A batch."""
        return list(self.clip.embed_texts(inputs))


class ImageApi(Api):
    """{"image": ...} in, base64."""

    def decode_request(self, request: dict[str, str]) -> bytes:
        """The file."""
        return base64.b64decode(request["image"])

    def predict(self, inputs: list[bytes]) -> list[np.ndarray]:
        """A batch."""
        return list(self.clip.embed_images(inputs))


@app.command("litserve")
def serve_litserve(checkpoint: Path, port: int) -> None:
    """LitServe with batching, an API for texts and one for pictures."""
    apis = [TextApi(checkpoint, "/text"), ImageApi(checkpoint, "/image")]
    server = litserve.LitServer(apis, accelerator="cpu", timeout=300)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


@app.command()
def pytriton(checkpoint: Path, port: int) -> None:
    """PyTriton: the same Triton server, its batcher, and functions of this process."""
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    clip = Clip(checkpoint)

    @batch
    def text(text: np.ndarray) -> dict[str, np.ndarray]:
        return {"embeds": clip.embed_texts([item.decode() for item in text[:, 0]])}

    @batch
    def image(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"embeds": clip.embed_images(list(image[:, 0]))}

    config = ModelConfig(max_batch_size=BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=int(WAIT_S * 1e6)))
    ports = TritonConfig(grpc_port=port, http_port=port + 1, metrics_port=port + 2, http_address="127.0.0.1")
    with Triton(config=ports) as triton:
        for function in (text, image):
            triton.bind(
                model_name=function.__name__,
                infer_func=function,
                inputs=[Tensor(name=function.__name__, dtype=bytes, shape=(1,))],
                outputs=[Tensor(name="embeds", dtype=np.float32, shape=(-1,))],
                config=config,
            )
        triton.serve()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app()
