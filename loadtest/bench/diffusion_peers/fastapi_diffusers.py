"""What most people write: FastAPI around a diffusers pipeline. Endpoints run in threads; the pipeline is locked.

python fastapi_diffusers.py FOLDER PORT STEPS
"""

import io
import sys
import threading

import torch
import uvicorn
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from fastapi import FastAPI, Response

app = FastAPI()
lock = threading.Lock()  # a scheduler's state belongs to one image


@app.get("/health")
def health() -> str:
    """Whether it is up."""
    return "ok"


@app.post("/generate")
def generate(prompt: str, seed: int) -> Response:
    """One picture as a PNG file."""
    file = io.BytesIO()
    with lock:
        generator = torch.Generator("cpu").manual_seed(seed)
        result = pipeline(prompt, num_inference_steps=steps, guidance_scale=5.0, generator=generator)
    result.images[0].save(file, "PNG")
    return Response(file.getvalue(), media_type="image/png")


if __name__ == "__main__":
    folder, port, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
