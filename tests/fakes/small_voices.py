"""Coqui's Tacotron 2 and XTTS in the shapes of the voices they give away, with as few weights as their code allows."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from TTS.tts.configs.shared_configs import CharactersConfig, GSTConfig
from TTS.tts.configs.tacotron2_config import Tacotron2Config
from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
from TTS.tts.models.xtts import Xtts

LETTERS = "abcdefghijklmnopqrstuvwxyzʒʂʏɑŋœɛøʌ12345"
LATENTS, SPEAKER = 32, 16  # of XTTS: how many condition its sound; numbers of a speaker
SPECIAL = ["[STOP]", "[UNK]", "[SPACE]", "[START]", "[en]", "[zh-cn]"]


def tacotron_config(attention_type: str = "original") -> Tacotron2Config:
    """`tts_models/zh-CN/baker/tacotron2-DDC-GST` in kind, as it is written in a voice's folder."""
    characters = CharactersConfig(characters=LETTERS, punctuations="，。, ", pad="_", eos="~", bos="^", blank=None)
    styles = GSTConfig(gst_embedding_dim=32, gst_num_heads=2, gst_num_style_tokens=4)
    made = Tacotron2Config(
        r=2, double_decoder_consistency=True, ddc_r=6, use_gst=True, gst=styles, characters=characters,
        use_phonemes=True, phonemizer="zh_cn_phonemizer", phoneme_language="zh-cn",
        text_cleaner="chinese_mandarin_cleaners", attention_type=attention_type,
    )  # fmt: skip
    made.audio.stats_path = None
    made.num_chars = len(LETTERS) + 8
    return made


def without_phonemizers(config: Tacotron2Config) -> Tacotron2Config:
    """As the server reads it: Coqui's own phonemizers want to be installed."""
    bare = Tacotron2Config()
    bare.from_dict(config.to_dict() | {"use_phonemes": False, "text_cleaner": None})
    return bare


def xtts_config(width: int = 64, heads: int = 2, max_audio_tokens: int = 12) -> XttsConfig:
    """XTTS 2 with two layers; its own have a width of 1024, 16 heads and 605 tokens of sound."""
    arguments = XttsArgs(
        gpt_layers=2, gpt_n_model_channels=width, gpt_n_heads=heads, gpt_max_audio_tokens=max_audio_tokens,
        gpt_max_text_tokens=60, gpt_use_perceiver_resampler=True, decoder_input_dim=width, d_vector_dim=SPEAKER,
    )  # fmt: skip
    return XttsConfig(model_args=arguments, languages=["en", "zh-cn"])


def xtts_network(config: XttsConfig, vocabulary: Path) -> Xtts:
    """An untrained network that reads letters; `vocabulary` is written, as `vocab.json` of a voice's folder."""
    letters = [*SPECIAL, *"abcdefghijklmnopqrstuvwxyz.,!?12345'"]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, [], unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(vocabulary))
    network = Xtts(config)
    network.tokenizer = VoiceBpeTokenizer(vocab_file=str(vocabulary))
    network.init_models()
    return network


def speaker(width: int = 64) -> dict[str, torch.Tensor]:
    """One speaker of XTTS, as `speakers.safetensors` has it."""
    return {"gpt_cond_latent": torch.randn(1, LATENTS, width), "speaker_embedding": torch.randn(1, SPEAKER, 1)}


def xtts(folder: Path) -> None:
    """Write a voice's folder."""
    torch.manual_seed(0)
    config = xtts_config()
    config.save_json(str(folder / "config.json"))
    save_file(xtts_network(config, folder / "vocab.json").state_dict(), folder / "model.safetensors")
    save_file(speaker(), folder / "speakers.safetensors")
    (folder / "voice.json").write_text(json.dumps({"name": "random", "languages": ["en", "zh"]}), encoding="utf-8")
