"""Stable Diffusion's networks, each loaded alone from the folder of a `StableDiffusionPipeline`.

Tensors go in and come out in float32, whatever a network computes in. The loop that uses them is
`tritone.drawing.stable_diffusion`. Each runs in a process of its own, so each imports what it needs as it is made: a
library is seconds and up to hundreds of megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tritone.cuda_graphs import Graphed, capture_on
from tritone.drawing.row_threads import share_rows
from tritone.errors import InvalidInput
from tritone.precision import torch_dtype

Tensors = Mapping[str, torch.Tensor]


class PromptTokenizer:
    """The text encoder's view of a prompt: how many tokens it has, and what its window cuts off."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPTokenizer

        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer")

    @property
    def window(self) -> int:
        """Tokens that the text encoder reads, the two that mark start and end included; 77 for CLIP."""
        return int(self.tokenizer.model_max_length)

    def count(self, prompt: str) -> tuple[int, str]:
        """Tokens of the whole prompt, start and end included, and the end of the prompt that is cut off ("" if none).

        Source of what is cut: StableDiffusionPipeline.encode_prompt.
        """
        ids = self.tokenizer(prompt).input_ids
        return len(ids), str(self.tokenizer.decode(ids[self.window - 1 : -1])) if len(ids) > self.window else ""


class TextEncoder:
    """Prompts to embeddings."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        from transformers import CLIPTextModel, CLIPTokenizer

        self.device = device
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        network: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch_dtype(dtype, device))
        self.network = network.to(device).eval()
        self.states = share_rows(self._states, device)
        self.warm_up()

    def warm_up(self) -> None:
        """Encode a word."""
        self.encode(["warm-up"])

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> torch.Tensor:
        """float32 (prompts, tokens, width) on the CPU; longer prompts are cut to the window, shorter ones padded."""
        inputs = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        return self.states(inputs.input_ids, inputs.attention_mask).cpu()

    def _states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask if getattr(self.network.config, "use_attention_mask", False) else None
        states: torch.Tensor = self.network(input_ids, attention_mask=mask).last_hidden_state
        return states.float()


class UNet:
    """One denoising step."""

    def __init__(
        self,
        folder: Path,
        device: str,
        dtype: str,
        attention_slicing: bool = False,
        cuda_graphs: bool = False,
    ) -> None:
        from diffusers import UNet2DConditionModel

        self.network = _load(UNet2DConditionModel, folder, "unet", device, dtype)
        if attention_slicing:
            self.network.set_attention_slice("auto")
        self.predict = share_rows(self._predict, device)
        config = self.network.config
        self.channels, self.width = config.in_channels, config.cross_attention_dim
        with torch.inference_mode():  # a graph pays for one image of the usual size and nowhere else: docs/gpu.md
            self.graphs = Graphed(self.predict, [self._usual()], capture_on(device, cuda_graphs))
        self.warm_up()

    def warm_up(self) -> None:
        """A step of one image of the usual size."""
        self(*self._usual())

    def describe(self) -> str:
        """What is in memory, for the log."""
        return self.graphs.describe()

    def _usual(self) -> tuple[torch.Tensor, ...]:
        side, device = self.network.config.sample_size, self.network.device
        latents = torch.zeros(2, self.channels, side, side, device=device)
        return latents, torch.zeros(2, 1, device=device), torch.zeros(2, 77, self.width, device=device)

    @torch.inference_mode()
    def __call__(
        self, latents: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """float32 (n, channels, h, w), (n, 1), (n, tokens, width) -> noise_pred (n, channels, h, w).

        Raises: InvalidInput: tensors of another checkpoint's shape.
        """
        if latents.shape[1] != self.channels or encoder_hidden_states.shape[-1] != self.width:
            raise InvalidInput(
                f"latents have {latents.shape[1]} channels and encoder_hidden_states a width of "
                f"{encoder_hidden_states.shape[-1]}; this UNet takes {self.channels} and {self.width}"
            )
        return {"noise_pred": self.graphs(latents, timestep, encoder_hidden_states)}

    def _predict(self, latents: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        dtype = self.network.dtype
        noise_pred = self.network(latents.to(dtype), timestep.flatten(), states.to(dtype), return_dict=False)[0]
        return noise_pred.float()  # type: ignore[no-any-return]


class VaeDecoder:
    """Latents to pictures, through the safety checker where the checkpoint has one."""

    def __init__(
        self,
        folder: Path,
        device: str,
        dtype: str,
        slicing: bool = False,
        tiling: bool = False,
        check_safety: bool = True,
    ) -> None:
        from diffusers import AutoencoderKL
        from diffusers.image_processor import VaeImageProcessor

        self.network = _load(AutoencoderKL, folder, "vae", device, dtype, without="encoder")
        if slicing:
            self.network.enable_slicing()
        if tiling:
            self.network.enable_tiling()
        self.decode = share_rows(self._decode, device)
        self.processor = VaeImageProcessor()
        nothing: tuple[Any, Any] = (None, None)
        self.checker, self.features = _safety_checker(folder, device, dtype) if check_safety else nothing
        self.warm_up()

    def warm_up(self) -> None:
        """Decode a small image."""
        self(torch.zeros(1, self.network.config.latent_channels, 8, 8, device=self.network.device))

    @torch.inference_mode()
    def __call__(self, latents: torch.Tensor) -> dict[str, torch.Tensor]:
        """float32 (n, channels, h, w) -> image uint8 (n, height, width, 3), nsfw_content_detected bool (n, 1).

        Raises: InvalidInput: latents with another number of channels.
        """
        channels = self.network.config.latent_channels
        if latents.shape[1] != channels:
            raise InvalidInput(f"latents have {latents.shape[1]} channels; this autoencoder takes {channels}")
        images = self.processor.postprocess(self.decode(latents), output_type="np")
        blocked = self._unsafe(images) if self.checker else [False] * len(images)
        pixels = torch.from_numpy((images * 255).round().astype("uint8"))
        return {"image": pixels, "nsfw_content_detected": torch.tensor(blocked)[:, None]}

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        scaled = latents.to(self.network.dtype) / self.network.config.scaling_factor
        return self.network.decode(scaled, return_dict=False)[0].float()  # type: ignore[no-any-return]

    def _unsafe(self, images: Any) -> list[bool]:
        """What the checker says of each picture; float (n, height, width, 3) in 0..1."""
        pictures = self.processor.numpy_to_pil(images)
        features = self.features(pictures, return_tensors="pt").pixel_values
        # It blackens what it objects to, in place: a copy, as an error is all that goes out then.
        _, found = self.checker(images=images.copy(), clip_input=features.to(self.network.device, self.network.dtype))
        return [bool(each) for each in found]


class VaeEncoder:
    """Pictures to the distribution of their latents, for image to image and inpainting."""

    def __init__(self, folder: Path, device: str, dtype: str, slicing: bool = False, tiling: bool = False) -> None:
        from diffusers import AutoencoderKL

        self.network = _load(AutoencoderKL, folder, "vae", device, dtype, without="decoder")
        if slicing:
            self.network.enable_slicing()
        if tiling:
            self.network.enable_tiling()
        self.warm_up()

    def warm_up(self) -> None:
        """Encode a small image."""
        self(torch.zeros(1, 3, 64, 64, device=self.network.device))

    @torch.inference_mode()
    def __call__(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """float32 (n, 3, height, width) in -1..1 -> latents_mean, latents_std (n, channels, h, w), not scaled.

        Raises: InvalidInput: another number of channels than three.
        """
        if pixel_values.shape[1] != 3:
            raise InvalidInput(f"pixel_values have {pixel_values.shape[1]} channels, must be 3")
        posterior = self.network.encode(pixel_values.to(self.network.dtype)).latent_dist
        return {"latents_mean": posterior.mean.float(), "latents_std": posterior.std.float()}


def has_safety_checker(folder: Path) -> bool:
    """Whether the checkpoint names a safety checker."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return (index.get("safety_checker") or [None])[0] is not None


def _safety_checker(folder: Path, device: str, dtype: str) -> tuple[Any, Any]:
    """The checkpoint's checker and what prepares its pictures; (None, None) for a checkpoint without."""
    if not has_safety_checker(folder):
        return None, None
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    checker: Any = StableDiffusionSafetyChecker.from_pretrained(
        folder / "safety_checker", dtype=torch_dtype(dtype, device)
    )
    checker = checker.to(device).eval()
    # It reads its thresholds one by one, 20 for each picture: on a GPU the host would wait for every one.
    for name in ("special_care_embeds_weights", "concept_embeds_weights"):
        setattr(checker, name, torch.nn.Parameter(getattr(checker, name).detach().cpu(), requires_grad=False))
    return checker, CLIPImageProcessor.from_pretrained(folder / "feature_extractor")


def _load(network: Any, folder: Path, part: str, device: str, dtype: str, without: str = "") -> Any:
    """A network on the device; `without` is a module of it that another model serves."""
    loaded = network.from_pretrained(folder / part, dtype=torch_dtype(dtype, device), use_safetensors=True)
    if without:  # dropped before it goes there: what a device has held once stays reserved
        setattr(loaded, without, None)
    return loaded.to(device).eval()
