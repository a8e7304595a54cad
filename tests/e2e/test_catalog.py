"""What the real server says of itself."""

import json

import numpy as np
import pytest
import tritonclient.grpc as triton

pytestmark = pytest.mark.e2e


def catalog(server, model=""):
    asked = triton.InferInput("model", [1, 1], "BYTES")
    asked.set_data_from_numpy(np.array([[model.encode()]], object))
    answer = triton.InferenceServerClient(server.grpc).infer("catalog", [asked]).as_numpy("catalog")
    return json.loads(answer[0, 0])


def test_the_catalog_is_that_of_the_public_models_with_a_process_and_holds_no_path(server):
    told = catalog(server)
    networks = {"whisper", "sd_text_encoder", "sd_unet", "sd_vae_decoder", "sd_vae_encoder"}
    index = triton.InferenceServerClient(server.grpc).get_model_repository_index().models
    ensembles = {"align", "clip_text", "clip_image", "voice_assistant"}
    assert told.keys() == {model.name for model in index} - networks - ensembles
    assert told["tts"]["voices"][0] == {"name": "en_US-joe-medium", "languages": ["en"]}
    assert told["transcribe"]["translates"] is False
    assert told["llava"]["max_pictures"] > 0
    assert told["clip_text_encoder"] == told["clip_image_encoder"]
    assert "/" not in json.dumps(told)
    assert catalog(server, "llava") == {"llava": told["llava"]}
