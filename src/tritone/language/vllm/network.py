"""vLLM's LLaVA, which reads today's names of weights too. Imported by vLLM alone."""

from typing import Any

from vllm.model_executor.models import llava
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY

# transformers 5 saves vision towers without the `vision_model` that vLLM expects, in checkpoints and in adapters.
PARTS = ("embeddings", "pre_layrnorm", "encoder", "post_layernorm")
NAMES = WeightsMapper(
    orig_to_new_prefix={f"vision_tower.{part}.": f"vision_tower.vision_model.{part}." for part in PARTS}
)


@MULTIMODAL_REGISTRY.register_processor(
    llava._build_llava_or_pixtral_hf_processor,
    info=llava._build_llava_or_pixtral_hf_info,
    dummy_inputs=llava.LlavaDummyInputsBuilder,
)
class Llava(llava.LlavaForConditionalGeneration):  # type: ignore[misc]
    """The network of `llava.LlavaForConditionalGeneration`."""

    hf_to_vllm_mapper = llava.LlavaForConditionalGeneration.hf_to_vllm_mapper | NAMES

    def get_mm_lora_token_counts(self, *, num_mm_embeds: int, **_: Any) -> tuple[int, int]:
        """Rows that adapters meet in the vision tower and in the projector: the tower has the class token, too."""
        return num_mm_embeds + (self.config.vision_feature_select_strategy == "default"), num_mm_embeds
