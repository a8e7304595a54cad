"""Convert an OpenAI Whisper checkpoint from CTranslate2's container to a Hugging Face directory.

The container (`model.bin`, version 6) is: version, spec name, revision, number of variables; then for each variable
its name, rank, shape, type and bytes; then pairs of alias and variable. Source: OpenNMT/CTranslate2
python/ctranslate2/specs/model_spec.py. The names map one to one onto `WhisperForConditionalGeneration`, except that
CTranslate2 stacks the projections of query, key and value in one matrix.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import transformers
import typer
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

CONTAINER_VERSION = 6
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}  # CTranslate2's type numbers
ENGLISH_ONLY_VOCABULARY = 51_864  # tokens; the multilingual vocabulary is larger
HEAD_SIZE = 64  # the same in every Whisper
END = "<|endoftext|>"
TIMESTAMP = re.compile(r"<\|\d+\.\d\d\|>")
MAX_INITIAL_TIMESTAMP_INDEX = 50  # the first segment starts within 50 × 0.02 s (openai/whisper decoding.py)

Variables = dict[str, np.ndarray]


def convert(source: Path, target: Path) -> None:
    """Write to `target` the Hugging Face form of `source` (a folder with model.bin, config.json, tokenizer.json)."""
    variables = read_container(_whole(source))
    settings = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tokenizer = _tokenizer(source)
    config = _config(variables, tokenizer)
    model = WhisperForConditionalGeneration(config).half()
    model.load_state_dict(dict(_state(variables, config)) | {"proj_out.weight": model.proj_out.weight}, strict=True)
    model.tie_weights()
    model.generation_config = _generation_config(settings, tokenizer, config)
    transformers.utils.logging.disable_progress_bar()  # one bar is drawn already, by whoever called
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(target)


def _whole(source: Path) -> Path:
    """The container, joined if it came in parts (`model.bin.part1`, …)."""
    container = source / "model.bin"
    if parts := sorted(source.glob("model.bin.part*")):
        container.write_bytes(b"".join(part.read_bytes() for part in parts))
    return container


def _tokenizer(source: Path) -> WhisperTokenizer:
    """The tokenizer with its special tokens declared: timestamps are the numbers after the last of them."""
    added = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    special = [token["content"] for token in added if token["special"] and not TIMESTAMP.match(token["content"])]
    return WhisperTokenizer.from_pretrained(source, extra_special_tokens=special, pad_token=END)


def read_container(path: Path) -> Variables:
    """All variables of a CTranslate2 `model.bin`, by name."""
    with path.open("rb") as file:
        version = _number(file, "I")
        if version != CONTAINER_VERSION:
            raise ValueError(f"{path} is a CTranslate2 container of version {version}, expected {CONTAINER_VERSION}")
        _text(file), _number(file, "I")  # spec name and its revision
        return dict(_variable(file) for _ in range(_number(file, "I")))


def _variable(file: BinaryIO) -> tuple[str, np.ndarray]:
    name = _text(file)
    shape = [_number(file, "I") for _ in range(_number(file, "B"))]
    dtype = DTYPES[_number(file, "B")]
    return name, np.frombuffer(file.read(_number(file, "I")), dtype=dtype).reshape(shape)


def _number(file: BinaryIO, code: str) -> int:
    return int(struct.unpack(code, file.read(struct.calcsize(code)))[0])


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "H")).rstrip(b"\0").decode()


def _config(variables: Variables, tokenizer: WhisperTokenizer) -> WhisperConfig:
    """Sizes are read off the tensors' shapes, token numbers off the tokenizer."""
    vocab_size, width = variables["decoder/embeddings/weight"].shape
    end = tokenizer.eos_token_id
    return WhisperConfig(
        vocab_size=vocab_size,
        num_mel_bins=variables["encoder/conv1/weight"].shape[1],
        d_model=width,
        encoder_layers=_layers(variables, "encoder"),
        decoder_layers=_layers(variables, "decoder"),
        encoder_attention_heads=width // HEAD_SIZE,
        decoder_attention_heads=width // HEAD_SIZE,
        encoder_ffn_dim=variables["encoder/layer_0/ffn/linear_0/weight"].shape[0],
        decoder_ffn_dim=variables["decoder/layer_0/ffn/linear_0/weight"].shape[0],
        max_source_positions=variables["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=variables["decoder/position_encodings/encodings"].shape[0],
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("<|startoftranscript|>"),
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )


def _layers(variables: Variables, half: str) -> int:
    return len({name.split("/")[1] for name in variables if name.startswith(f"{half}/layer_")} - {"layer_norm"})


def _generation_config(
    settings: dict[str, Any], tokenizer: WhisperTokenizer, config: WhisperConfig
) -> GenerationConfig:
    multilingual = config.vocab_size != ENGLISH_ONLY_VOCABULARY
    tokens = tokenizer.convert_tokens_to_ids
    return GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        max_length=config.max_target_positions,
        suppress_tokens=settings["suppress_ids"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        alignment_heads=settings["alignment_heads"],
        is_multilingual=multilingual,
        no_timestamps_token_id=tokens("<|notimestamps|>"),
        prev_sot_token_id=tokens("<|startofprev|>"),
        max_initial_timestamp_index=MAX_INITIAL_TIMESTAMP_INDEX,
        return_timestamps=False,
        **({"lang_to_id": _languages(settings, tokenizer), "task_to_id": _tasks(tokenizer)} if multilingual else {}),
    )


def _languages(settings: dict[str, Any], tokenizer: WhisperTokenizer) -> dict[str, int]:
    return {tokenizer.convert_ids_to_tokens(number): number for number in settings["lang_ids"]}


def _tasks(tokenizer: WhisperTokenizer) -> dict[str, int]:
    return {task: tokenizer.convert_tokens_to_ids(f"<|{task}|>") for task in ("transcribe", "translate")}


def _state(variables: Variables, config: WhisperConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """Hugging Face names and tensors of every weight; the output projection is the tied embedding."""
    yield "model.decoder.embed_tokens.weight", _tensor(variables["decoder/embeddings/weight"])
    for number in (1, 2):
        yield from _pair(variables, f"encoder/conv{number}", f"model.encoder.conv{number}")
    for half, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        positions = variables[f"{half}/position_encodings/encodings"]
        yield f"model.{half}.embed_positions.weight", _tensor(positions)
        yield from _norm(variables, f"{half}/layer_norm", f"model.{half}.layer_norm")
        for number in range(layers):
            yield from _layer(variables, f"{half}/layer_{number}", f"model.{half}.layers.{number}")


def _layer(variables: Variables, old: str, new: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield from _attention(variables, f"{old}/self_attention", f"{new}.self_attn", ("q", "k", "v"), 0)
    yield from _norm(variables, f"{old}/self_attention/layer_norm", f"{new}.self_attn_layer_norm")
    if f"{old}/attention/layer_norm/beta" in variables:  # the decoder's layers also attend to the encoder
        yield from _attention(variables, f"{old}/attention", f"{new}.encoder_attn", ("q",), 0)
        yield from _attention(variables, f"{old}/attention", f"{new}.encoder_attn", ("k", "v"), 1)
        yield from _norm(variables, f"{old}/attention/layer_norm", f"{new}.encoder_attn_layer_norm")
    yield from _norm(variables, f"{old}/ffn/layer_norm", f"{new}.final_layer_norm")
    yield from _pair(variables, f"{old}/ffn/linear_0", f"{new}.fc1")
    yield from _pair(variables, f"{old}/ffn/linear_1", f"{new}.fc2")


def _attention(
    variables: Variables, old: str, new: str, projections: tuple[str, ...], linear: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """Split one stacked matrix into its projections; the last one also yields the output projection after it."""
    weights = _tensor(variables[f"{old}/linear_{linear}/weight"]).chunk(len(projections))
    biases = _tensor(variables[f"{old}/linear_{linear}/bias"]).chunk(len(projections))
    for name, weight, bias in zip(projections, weights, biases, strict=True):
        yield f"{new}.{name}_proj.weight", weight
        if name != "k":  # Whisper's keys have no bias: CTranslate2 fills in zeros
            yield f"{new}.{name}_proj.bias", bias
    if projections[-1] == "v":
        yield from _pair(variables, f"{old}/linear_{linear + 1}", f"{new}.out_proj")


def _pair(variables: Variables, old: str, new: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{new}.weight", _tensor(variables[f"{old}/weight"])
    yield f"{new}.bias", _tensor(variables[f"{old}/bias"])


def _norm(variables: Variables, old: str, new: str) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{new}.weight", _tensor(variables[f"{old}/gamma"])
    yield f"{new}.bias", _tensor(variables[f"{old}/beta"])


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


if __name__ == "__main__":
    typer.run(convert)
