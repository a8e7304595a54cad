"""/v1/images: pictures drawn from words, and changed by them."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from openai import types
from openai.types.image_gen_completed_event import Usage, UsageInputTokensDetails

from tritone_client import GeneratedImage, GeneratedImages
from tritone_gateway.context import Context, Here
from tritone_gateway.description import EVENTS, answers
from tritone_gateway.endpoints.image_request import EditRequest, ImageRequest
from tritone_gateway.errors import ApiError, invalid, named
from tritone_gateway.media.inline import base64_of
from tritone_gateway.media.masks import encoded, mask_of
from tritone_gateway.requests import Upload, form_of, form_schema
from tritone_gateway.streaming import EventStream, begun, event

router = APIRouter()
PARAMS = {
    **dict.fromkeys(("height", "width"), "size"),
    **{name: name for name in ("prompt", "seed", "style", "scheduler", "strength", "guidance_scale")},
    **{name: name for name in ("negative_prompt", "num_inference_steps", "image", "mask")},
    "num_images": "n",
    "image_bytes": "image",
    "mask_bytes": "mask",
}


@router.post("/v1/images/generations", responses=answers(EVENTS, model=types.ImagesResponse))
async def generate(request: ImageRequest, here: Here) -> Response:
    """Pictures from words."""
    here.catalogue.named(request.model, "stable_diffusion")
    request.check()
    return await _drawn(request, request.wishes(here.settings), "image_generation", here)


@router.post(
    "/v1/images/edits", openapi_extra=form_schema(EditRequest), responses=answers(EVENTS, model=types.ImagesResponse)
)
async def edit(http: Request, here: Here) -> Response:
    """A picture drawn anew from words, as a whole or where a mask is transparent."""
    request: EditRequest = await form_of(http, EditRequest, ("image",))
    here.catalogue.named(request.model, "stable_diffusion")
    request.check()
    if len(request.image) != 1:
        raise invalid(f"{len(request.image)} images are given, one can be changed at a time", "image")
    picture = Upload.of(request.image[0], "image")
    mask = None if request.mask is None else Upload.of(request.mask, "mask")
    mask = await asyncio.to_thread(mask_of, picture, mask)
    wishes = request.wishes(here.settings) | {"image": picture, "mask": mask, "strength": request.strength}
    return await _drawn(request, wishes, "image_edit", here)


@router.post("/v1/images/variations")
async def variations() -> Response:
    """Retired by OpenAI too."""
    said = "variations are no longer made; /v1/images/edits draws a picture anew from words"
    raise ApiError(404, said, code="not_found")


async def _drawn(request: ImageRequest, wishes: dict[str, Any], kind: str, here: Context) -> Response:
    await here.take_pictures(request.n, "drawn")
    if request.stream:
        events = await begun(_events(request, wishes, kind, here))
        return EventStream(events, here.request_id, here.settings.keep_alive_s)
    with named(PARAMS):
        drawn = await here.client.generate_image(request.prompt, **wishes, **here.delivery)
    await here.used_tokens(drawn.prompt_tokens, 0)
    files = await asyncio.gather(*(_file(image.png, request) for image in drawn.images))
    told = None if not drawn.truncated_text else request.prompt.removesuffix(drawn.truncated_text)
    answer = types.ImagesResponse.model_validate(
        {
            "created": int(time.time()),
            "background": "opaque",
            "output_format": request.output_format,
            "size": _size(drawn.image),
            "data": [
                {"b64_json": file, "revised_prompt": told, "seed": image.seed}
                for file, image in zip(files, drawn.images, strict=True)
            ],
            "usage": _usage(drawn).to_dict(),
        }
    )
    return JSONResponse(answer.to_dict(exclude_none=True))


async def _events(
    request: ImageRequest, wishes: dict[str, Any], kind: str, here: Context
) -> AsyncGenerator[bytes, None]:
    """Previews as they come, then the pictures. A silent stream is kept alive, and begins with its first step."""
    interval, index = request.preview_interval(here.settings), 0
    parts = here.client.generate_image_stream(request.prompt, **wishes, preview_interval=interval, **here.delivery)
    async with aclosing(parts):
        with named(PARAMS):
            async for part in parts:
                if isinstance(part, GeneratedImages):
                    await here.used_tokens(part.prompt_tokens, 0)
                    for image in part.images:
                        yield await _completed(request, kind, image, part)
                elif part.previews and index < request.partial_images:
                    yield await _partial(request, kind, part.previews[0], index)
                    index += 1
                elif part.step == 1:
                    yield b": drawing\n\n"


async def _partial(request: ImageRequest, kind: str, preview: bytes, index: int) -> bytes:
    type_of: Any = types.ImageGenPartialImageEvent if kind == "image_generation" else types.ImageEditPartialImageEvent
    shown = await _shown(request, preview, request.size)
    return event(type_of(type=f"{kind}.partial_image", partial_image_index=index, **shown), f"{kind}.partial_image")


async def _completed(request: ImageRequest, kind: str, image: GeneratedImage, drawn: GeneratedImages) -> bytes:
    type_of: Any = types.ImageGenCompletedEvent if kind == "image_generation" else types.ImageEditCompletedEvent
    shown = await _shown(request, image.png, _size(image))
    payload = {**shown, "type": f"{kind}.completed", "usage": _usage(drawn).to_dict(), "seed": image.seed}
    return event(type_of.model_validate(payload), f"{kind}.completed")


async def _shown(request: ImageRequest, png: bytes, size: str) -> dict[str, Any]:
    quality = {"standard": "medium", "hd": "high"}.get(request.quality, request.quality)
    return {
        "b64_json": await _file(png, request),
        "created_at": int(time.time()),
        "background": "opaque",
        "output_format": request.output_format,
        "quality": quality,
        "size": size,
    }


async def _file(png: bytes, request: ImageRequest) -> str:
    return base64_of(await asyncio.to_thread(encoded, png, request.output_format, request.output_compression))


def _size(image: GeneratedImage) -> str:
    height, width, _ = image.pixels.shape
    return f"{width}x{height}"


def _usage(drawn: GeneratedImages) -> Usage:
    read = drawn.prompt_tokens
    details = UsageInputTokensDetails(image_tokens=0, text_tokens=read)
    return Usage(input_tokens=read, input_tokens_details=details, output_tokens=0, total_tokens=read)
