"""Small random checkpoints in the shapes of real ones: LLaVA 1.5 and interleave-qwen."""

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
    SiglipImageProcessor,
    SiglipVisionConfig,
)

from tritone import checkpoints

VOCABULARY = 1129  # of the tiny checkpoint's tokenizer, which these borrow
# Of LLaVA 1.5: what is asked stays as it is written, other than in the tiny checkpoint's own.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %} {{ message['content'] }}"
    "{{ eos_token }}{% else %}USER: "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %} ASSISTANT:"
    "{% endif %}{% endfor %}"
)
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.5,  # far from uniform, so that answers differ and no two tokens are nearly as likely
}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}


def llava_1_5(folder):
    """The shape of llava-hf/llava-1.5-7b-hf: CLIP, its last layer but one without the class token, and Llama."""
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=64, patch_size=16, projection_dim=16, **VISION),
        text_config=LlamaConfig(num_attention_heads=4, num_key_value_heads=4, rms_norm_eps=1e-5, **TEXT),
        image_token_index=3,
        image_seq_length=16,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    processor = LlavaProcessor.from_pretrained(checkpoints.path("llava"), patch_size=16, chat_template=CHAT_TEMPLATE)
    save(config, processor, folder)


def interleave_qwen(folder):
    """The shape of llava-hf/llava-interleave-qwen-0.5b-hf: SigLIP, all of its last layer, and Qwen2."""
    tiny = LlavaProcessor.from_pretrained(checkpoints.path("llava"))
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(image_size=56, patch_size=14, vision_use_head=False, **VISION),
        text_config=Qwen2Config(
            num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, rope_theta=1e6, **TEXT
        ),
        image_token_index=3,
        image_seq_length=16,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=tiny.tokenizer,
        patch_size=14,
        num_additional_image_tokens=0,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
    )
    save(config, processor, folder)


def save(config, processor, folder):
    torch.manual_seed(1)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = [2, 5]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
