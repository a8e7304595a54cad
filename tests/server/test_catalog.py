"""What the real models say that they offer, and who reads it."""

import json

import pytest
from server.asking import INVALID, message


def offered(serve, model):
    serve(model)
    catalog = serve("catalog")
    [answer] = catalog.execute(catalog.request(model=[model]))
    return json.loads(answer["catalog"][0])[model]


def test_voices_have_names_and_languages_and_the_default_is_said(serve):
    facts = offered(serve, "tts")
    assert (facts["checkpoint"], facts["default_voice"]) == ("tts", "en_US-joe-medium")
    assert facts["voices"][0] == {"name": "en_US-joe-medium", "languages": ["en"]}
    assert "zh" in facts["voices"][1]["languages"]
    assert (facts["min_speed"], facts["max_speed"]) == (0.25, 4.0)
    assert set(facts["response_formats"]) == {"wav", "flac", "mp3", "opus", "aac", "pcm"}


@pytest.mark.parametrize("model", ["transcribe", "transcribe_stream"])
def test_who_hears_says_which_languages_and_whether_it_translates(serve, model):
    assert offered(serve, model) == {"checkpoint": "whisper", "languages": ["en"], "translates": False}


def test_a_multilingual_checkpoint_names_its_languages(serve, monkeypatch):
    monkeypatch.setenv("TRITONE_CHECKPOINT_WHISPER", "whisper_multilingual")
    told = serve("transcribe", max_windows="15").model.listener.facts()
    assert (told["checkpoint"], told["translates"], len(told["languages"])) == ("whisper_multilingual", True, 99)
    assert {"en", "zh"} <= set(told["languages"])


def test_a_chat_model_says_its_length_adapters_and_pictures(serve):
    facts = offered(serve, "llava")
    assert (facts["checkpoint"], facts["adapters"]) == ("llava", [])
    assert facts["max_length"] > facts["max_tokens"] > 0
    assert facts["max_pictures"] > 0


def test_who_draws_says_sizes_schedulers_and_styles(serve):
    facts = offered(serve, "stable_diffusion")
    assert facts["default_side"] % facts["side_multiple"] == 0
    assert facts["default_scheduler"] in facts["schedulers"]
    assert "watercolour" in facts["styles"]
    assert facts["max_images"] >= 1


def test_encoders_say_how_wide_their_vectors_are(serve):
    encoder = serve("clip_text_encoder")
    tokens = serve("clip_tokenizer")
    [ids] = tokens.execute(tokens.request(text=["一个红色的圆形"]))
    [vector] = encoder.execute(encoder.request(input_ids=[ids["input_ids"]]))
    assert offered(serve, "clip_text_encoder") == {"checkpoint": "clip", "width": len(vector["text_embeds"])}
    assert offered(serve, "clip_image_encoder") == {"checkpoint": "clip", "width": len(vector["text_embeds"])}


def test_the_catalog_has_public_models_alone_and_says_which_it_has(serve):
    for model in ("sd_vae_decoder", "speak_stream"):
        serve(model)
    catalog = serve("catalog")
    whole, unknown = catalog.execute(catalog.request(model=[""]), catalog.request(model=["画"]))
    told = json.loads(whole["catalog"][0])
    assert told["speak_stream"] == {}
    assert "sd_vae_decoder" not in told
    assert unknown.error().code() == INVALID
    assert "model '画' is not in the catalog, which has: " in message(unknown)
    assert "speak_stream" in message(unknown)
