"""What the real server says of itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.e2e


def catalog(server, model=""):
    asked = triton.InferInput("model", [1, 1], "BYTES")
    asked.set_data_from_numpy(np.array([[model.encode()]], object))
    answer = triton.InferenceServerClient(server.grpc).infer("catalog", [asked]).as_numpy("catalog")
    return json.loads(answer[0, 0])


def test_the_catalog_has_every_public_model_and_no_path_of_the_machine(server):
    told = catalog(server)
    folders = [file.parent.name for file in ROOT.glob("*/*/config.pbtxt")]
    networks = {"whisper", "sd_text_encoder", "sd_unet", "sd_vae_decoder", "sd_vae_encoder"}
    assert told.keys() == set(folders) - networks
    assert told["tts"]["voices"][0] == {"name": "en_US-joe-medium", "languages": ["en"]}
    assert told["transcribe"]["translates"] is False
    assert told["llava"]["max_pictures"] > 0
    assert told["clip_text_encoder"] == told["clip_image_encoder"]
    assert told["voice_assistant"] == {}
    assert "/" not in json.dumps(told)
    assert catalog(server, "llava") == {"llava": told["llava"]}
