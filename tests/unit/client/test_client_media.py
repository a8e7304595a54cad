import io
import wave
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from PIL import Image

from tritone_client import InvalidInput, Speech
from tritone_client.media import audio_bytes, image_bytes

TONE = (np.sin(np.arange(1600) * 0.1) * 0.5).astype(np.float32)


def read_wav(wav: bytes) -> tuple[wave._wave_params, np.ndarray]:
    with wave.open(io.BytesIO(wav)) as file:
        return file.getparams(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_files_and_bytes_are_passed_on_untouched(tmp_path):
    file = tmp_path / "not really.flac"
    file.write_bytes(b"anything")
    assert audio_bytes(file) == audio_bytes(str(file)) == audio_bytes(b"anything") == b"anything"
    assert image_bytes(file) == image_bytes(str(file)) == image_bytes(bytearray(b"anything")) == b"anything"


@pytest.mark.parametrize("encode", [audio_bytes, image_bytes])
def test_a_file_object_is_read(tmp_path, encode):
    (tmp_path / "file").write_bytes(b"anything")
    with (tmp_path / "file").open("rb") as file:
        assert encode(file) == encode(io.BytesIO(b"anything")) == b"anything"
    with (tmp_path / "file").open() as text, pytest.raises(InvalidInput, match="gives str, must give bytes"):
        encode(text)


def test_samples_become_a_wav_file_of_the_same_sound():
    params, samples = read_wav(audio_bytes(TONE, 16_000))
    assert (params.nchannels, params.framerate, params.nframes) == (1, 16_000, 1600)
    assert np.abs(samples / 2**15 - TONE).max() <= 0.5 / 2**15


def test_two_channels_stay_two_and_in_order():
    stereo = np.array([[1, -1], [2, -2], [3, -3]], np.int16)
    params, samples = read_wav(audio_bytes(stereo, 8_000))
    assert params.nchannels == 2
    assert samples.tolist() == [1, -1, 2, -2, 3, -3]


def test_full_scale_is_not_turned_round():
    _, samples = read_wav(audio_bytes(np.array([1.0, -1.0]), 8_000))
    assert samples.tolist() == [32767, -32768]


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        (TONE, None, "sampling_rate is None"),
        (TONE, 0, "sampling_rate is 0"),
        (np.array([0.0, np.nan]), 16_000, "peak of nan"),
        (np.array([0.0, 1.5]), 16_000, "peak of 1.5"),
        (np.array([]), 16_000, "shape (0,)"),
        (np.zeros((2, 2, 2)), 16_000, "shape (2, 2, 2)"),
        (np.array([1, 2]), 16_000, "dtype int64"),
        (b"RIFF", 16_000, "leave it out"),
        (7, None, "audio is a int"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(audio, rate, words):
    with pytest.raises(InvalidInput) as caught:
        audio_bytes(audio, rate)
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    missing = tmp_path / "nowhere.wav"
    with pytest.raises(InvalidInput, match=r"audio file '.*nowhere\.wav' cannot be read: No such file") as caught:
        audio_bytes(missing)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(InvalidInput, match="image file"):
        image_bytes(tmp_path)  # a directory


def test_pixels_and_pillow_images_come_back_exactly():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    for picture in (pixels, Image.fromarray(pixels)):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(image_bytes(picture)))), pixels)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4), np.uint8), "(4, 4)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)"),
        (Image.new("CMYK", (2, 2)), "CMYK"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(image, words):
    with pytest.raises(InvalidInput) as caught:
        image_bytes(image)
    assert words in str(caught.value)


def test_speech_is_read_from_its_wav_file_and_saved_as_it(tmp_path):
    speech = Speech.from_wav(audio_bytes(TONE, 22_050))
    assert speech.sampling_rate == 22_050
    assert speech.duration == pytest.approx(1600 / 22_050)
    assert np.abs(speech.audio - TONE).max() <= 0.5 / 2**15
    speech.save(tmp_path / "answer.wav")
    assert (tmp_path / "answer.wav").read_bytes() == speech.wav


def test_a_sounds_file_is_of_the_format_that_its_name_says(tmp_path):
    speech = Speech.from_wav(audio_bytes(TONE, 16_000))
    soundfile.write(ogg := io.BytesIO(), TONE, 16_000, format="OGG")
    asked = replace(speech, encoded=ogg.getvalue())
    for name, kind in {"声音.flac": "FLAC", "a.MP3": "MP3", "a.wav": "WAV"}.items():
        asked.save(tmp_path / name)
        assert soundfile.info(tmp_path / name).format == kind
    asked.save(tmp_path / "a.ogg")
    assert (tmp_path / "a.ogg").read_bytes() == asked.encoded
    with pytest.raises(InvalidInput, match=r"a\.ogg must end in \.wav, \.flac or \.mp3, or"):
        speech.save(tmp_path / "a.ogg")


@pytest.mark.parametrize("wav", [b"", b"no wave at all", audio_bytes(np.zeros((4, 2)), 8_000)])
def test_speech_that_is_not_mono_wav_is_an_error(wav):
    with pytest.raises(ValueError, match="WAV"):
        Speech.from_wav(wav)
