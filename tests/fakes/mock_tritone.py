"""What a server would answer, for tests of what stands in front of one."""

import io
import json

import numpy as np
from PIL import Image

RATE = 16_000
CLAUSES = ("The circle ", "is red.")
WIDTH = 4  # of embeddings


def tone(seconds=0.25, hz=440):
    """Samples float32 (n_samples,) of a tone."""
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def png(colour=(255, 0, 0), size=(16, 8), mode="RGB"):
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def piece(text, done=False, tokens=1, logprobs=""):
    """A piece of an answer."""
    return {
        "text_output": text,
        "finish_reason": "stop" if done else "",
        "prompt_tokens": 7,
        "completion_tokens": tokens,
        "image_tokens": 3,
        "logprobs_content": logprobs,
    }


def speech(text="", seconds=0.25):
    """Something spoken."""
    sound = tone(seconds)
    words = {"word": [text], "word_start": [0.0], "word_end": [seconds]}
    return {"audio": sound, "sampling_rate": RATE, "audio_wav": b"", "voice": "joe", "note": "", **words}


def heard(text="What color is it?", duration=2.5):
    """A transcript of one segment, with its words."""
    words = text.split()
    ends = [duration * (place + 1) / len(words) for place in range(len(words))]
    return {
        "text": text,
        "language": "en",
        "duration": duration,
        "segment_start": [0.0],
        "segment_end": [duration],
        "segment_text": [text],
        "segment_tokens": ["[50364, 708, 2017]"],
        "segment_seek": [50],
        "segment_temperature": [0.25],
        "segment_avg_logprob": [-0.5],
        "segment_compression_ratio": [1.5],
        "segment_no_speech_prob": [0.125],
        "word": words,
        "word_start": [0.0, *ends[:-1]],
        "word_end": ends,
    }


def reply(index, text, reason=""):
    """A clause of the assistant's."""
    ms = {f"{stage}_ms": 1.0 for stage in ("hear", "think", "speak", "elapsed")}
    spoken = {name: value for name, value in speech(text).items() if name not in ("voice", "note")}
    told = {"transcript": "What color is it?", "duration": 2.5, "text_output": text, "finish_reason": reason}
    told |= {"prompt_tokens": 7, "image_tokens": 3}
    return {"index": index, "completion_tokens": index + 1, "speech_error": "", **told, **spoken, **ms}


def drawn(count=1):
    """Pictures, all blue."""
    blue = np.zeros((count, 8, 16, 3), np.uint8)
    blue[..., 2] = 255
    files = [png((0, 0, 255))] * count
    return {
        "image": blue[None],
        "image_png": files,
        "seed": list(range(7, 7 + count)),
        "prompt_tokens": 5,
        "truncated_text": "",
    }


def drawing(steps=8, interval=None):
    """The same, step by step."""
    for step in range(1, steps + 1):
        shown = {"preview_png": [png((step, 0, 0))]} if interval and step % interval == 0 else {}
        yield {"step": step, "num_steps": steps, **shown}
    yield drawn()


def number(request, name, default=None):
    """The one number of an input."""
    return request.inputs[name][0, 0].item() if name in request.inputs else default


CATALOG = {
    "llava": {"checkpoint": "llava", "adapters": ["zh", "charts"]},
    "llava_answer": {"checkpoint": "llava", "adapters": ["zh", "charts"]},
    "clip_text_encoder": {"embedding_width": WIDTH},
    "tts": {"voices": [{"name": "joe", "languages": ["en"]}, {"name": "espeak", "languages": ["en", "zh"]}]},
    **{name: {} for name in ("clip_text", "clip_image", "transcribe", "speak_stream", "align", "stable_diffusion")},
}


def answers(request):
    """What each model would say."""
    match request.model:
        case "llava_answer":
            return piece("".join(CLAUSES), done=True, tokens=5)
        case "llava":
            return [piece(CLAUSES[0], tokens=2), piece(CLAUSES[1], done=True, tokens=5)]
        case "voice_assistant_stream":
            return [reply(0, CLAUSES[0]), reply(1, CLAUSES[1], "stop")]
        case "transcribe":
            return heard()
        case "transcribe_stream":
            parts = [heard("What color"), heard("is it?")]
            return [{**part, "index": i, "end": 1.0, "is_final": i == 1} for i, part in enumerate(parts)]
        case "speak_stream":
            return [{"index": i, "text": text, **speech(text)} for i, text in enumerate(CLAUSES)]
        case "clip_text":
            vector = np.eye(WIDTH, dtype=np.float32)[len(request.text("text")) % WIDTH]
            return {"text_embeds": vector, "token_count": 3, "truncated": False}
        case "clip_image":
            return {"image_embeds": np.eye(WIDTH, dtype=np.float32)[0]}
        case "catalog":
            return {"catalog": json.dumps(CATALOG)}
        case "align":
            times = {"word": ["is", "red"], "start": [0.0, 0.5], "end": [0.5, 1.0], "score": [0.9, 0.8]}
            return {**times, "matches": True, "duration": 1.0}
        case "text_to_image":
            return drawn(number(request, "num_images", 1))
        case "stable_diffusion":
            return drawing(interval=number(request, "preview_interval"))
    raise AssertionError(f"nobody should ask '{request.model}'")
