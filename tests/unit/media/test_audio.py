"""Sound files of every kind come out as the same mono 16 kHz samples; every bad file is refused with its reason."""

import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tritone.errors import InvalidInput
from tritone.media import audio, sound_files

MAX_BYTES, MAX_SECONDS = 10_000_000, 30.0
RATE = 44_100
SPEECH = Path(__file__).parents[3] / "docs" / "demo_answer.wav"
DELAY = 2_000  # samples that a decoder may put before the sound
BEGINNINGS = {"wav": b"RIFF", "flac": b"fLaC", "mp3": b"\xff", "opus": b"OggS", "aac": b"\xff\xf1", "pcm": b""}


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0, amplitude: float = 0.25) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encode(samples: np.ndarray, file_format: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=file_format, subtype=subtype)
    return file.getvalue()


def decode(audio_bytes: bytes) -> np.ndarray:
    return sound_files.decode(audio_bytes, MAX_BYTES, MAX_SECONDS)


def strongest_frequency(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * audio.SAMPLING_RATE / len(samples))


@pytest.mark.parametrize(
    ("file_format", "subtype", "rate"),
    [
        ("WAV", "PCM_16", 44_100),
        ("WAV", "PCM_U8", 8_000),
        ("WAV", "FLOAT", 48_000),
        ("WAVEX", "PCM_24", 96_000),
        ("FLAC", "PCM_16", 44_100),
        ("OGG", "VORBIS", 44_100),
        ("OGG", "OPUS", 48_000),
        ("MP3", None, 44_100),
        ("AIFF", "PCM_16", 44_100),
        ("AIFF", "FLOAT", 44_100),
        ("CAF", "PCM_16", 48_000),
        ("CAF", "ALAC_16", 44_100),
        ("AU", "ULAW", 8_000),
        ("W64", "PCM_16", 44_100),
        ("RF64", "PCM_16", 44_100),
    ],
)
def test_every_format_decodes_to_the_same_tone(file_format: str, subtype: str | None, rate: int) -> None:
    decoded = decode(encode(tone(2.0, rate), file_format, subtype, rate))
    assert decoded.dtype == np.float32
    assert len(decoded) == pytest.approx(32_000, abs=0.1 * audio.SAMPLING_RATE)  # lossy formats pad
    assert strongest_frequency(decoded) == pytest.approx(440.0, abs=1.0)
    assert np.abs(decoded[8_000:24_000]).max() == pytest.approx(0.25, abs=0.02)  # loudness untouched


def encode_container(samples: np.ndarray, container: str, codec: str, rate: int) -> bytes:
    """Samples (n_channels, n_samples), encoded by FFmpeg."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        layout = "stereo" if len(samples) == 2 else "mono"
        track = file.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", layout)
        frame.sample_rate = rate
        convert = av.AudioResampler(format=track.format, layout=track.layout, rate=rate).resample
        file.mux([packet for part in [*convert(frame), None] for packet in track.encode(part)])
    return buffer.getvalue()


CONTAINERS = [
    *[("3gp", "libopencore_amrnb", 8_000), ("amr", "libopencore_amrnb", 8_000), ("ipod", "alac", 44_100)],
    *[("ipod", "aac", 44_100), ("mp4", "aac", 48_000), ("adts", "aac", 22_050), ("webm", "libopus", 48_000)],
]
CONTAINER_HEADS = [
    b"#!AMR\n\x04",
    b"caff\x00\x01\x00\x00desc",
    b"\x00\x00\x00\x20ftypM4A ",
    b"\x1a\x45\xdf\xa3",
    b"\xff\xf1\x50\x80",
]


@pytest.mark.parametrize(("container", "codec", "rate"), CONTAINERS)
def test_what_phones_and_browsers_record_decodes_to_the_same_tone(container: str, codec: str, rate: int) -> None:
    both = np.stack([tone(2.0, rate)] * (1 if "amr" in codec else 2))
    decoded = decode(encode_container(both, container, codec, rate))
    assert len(decoded) == pytest.approx(32_000, abs=0.1 * audio.SAMPLING_RATE)
    assert strongest_frequency(decoded) == pytest.approx(440.0, abs=1.0)
    assert np.abs(decoded[8_000:24_000]).max() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(("container", "codec", "rate"), CONTAINERS)
def test_their_length_and_damage_are_noticed(container: str, codec: str, rate: int) -> None:
    with pytest.raises(InvalidInput, match="longer than the limit of 30 s"):
        decode(encode_container(tone(31.0, rate)[None], container, codec, rate))
    with pytest.raises(InvalidInput, match=r"no readable|no samples"):
        decode(encode_container(tone(1.0, rate)[None], container, codec, rate)[:40])


def test_a_film_without_sound_is_refused() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        track = file.add_stream("mpeg4", rate=24)
        track.width = track.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        file.mux([packet for part in (frame, None) for packet in track.encode(part)])
    with pytest.raises(InvalidInput, match="no sound track"):
        decode(buffer.getvalue())


def test_training_data_are_trimmed_turned_into_mels_and_padded() -> None:
    sound = np.concatenate([np.zeros(8_000, np.float32), tone(0.5, 16_000), np.zeros(8_000, np.float32)])
    trimmed = audio.trim(sound, top_db=40)
    assert 8_000 <= len(trimmed) <= 8_000 + 4 * 2_048
    assert len(audio.trim(sound, top_db=200)) == len(sound)
    mel = audio.mel_features(trimmed)
    assert mel.shape == (80, 1 + len(trimmed) // 256)
    assert mel.dtype == np.float32
    loudest = int(mel.mean(axis=1).argmax())
    assert audio.mel_features(tone(0.5, 16_000, hertz=3_000)).mean(axis=1).argmax() > loudest  # a higher tone
    batch, lengths = audio.pad([mel, mel[:, :10]], value=-11.5)
    assert batch.shape == (2, 80, mel.shape[1])
    assert lengths.tolist() == [mel.shape[1], 10]
    np.testing.assert_array_equal(batch[1, :, :10], mel[:, :10])
    assert (batch[1, :, 10:] == -11.5).all()


def test_samples_at_16_khz_come_back_exactly() -> None:
    samples = tone(0.5, audio.SAMPLING_RATE)
    np.testing.assert_array_equal(decode(encode(samples, subtype="FLOAT", rate=audio.SAMPLING_RATE)), samples)


def test_channels_are_averaged() -> None:
    left = tone(0.5, audio.SAMPLING_RATE)
    stereo = np.stack([left, np.zeros_like(left)], axis=1)
    np.testing.assert_allclose(decode(encode(stereo, subtype="FLOAT", rate=audio.SAMPLING_RATE)), left / 2, atol=1e-7)


def test_a_streamed_wav_without_a_length_decodes() -> None:
    wav = bytearray(encode(tone(1.0)))
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"  # what a pipe writes where it cannot seek back
    assert len(decode(bytes(wav))) == 16_000


@pytest.mark.parametrize("riff", [0, 36, 0xFFFFFFFF, 0x7FFFF024])
@pytest.mark.parametrize("data", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_whose_recorder_never_finished_its_header_is_read_to_its_end(riff: int, data: int) -> None:
    wav = bytearray(encode(tone(1.0, 16_000), rate=16_000))
    wav[4:8], wav[40:44] = riff.to_bytes(4, "little"), data.to_bytes(4, "little")
    np.testing.assert_array_equal(decode(bytes(wav)), decode(encode(tone(1.0, 16_000), rate=16_000)))


def test_a_finished_wav_without_sound_stays_empty_whatever_chunk_follows() -> None:
    wav = bytearray(encode(tone(0.0)) + b"LIST" + (4).to_bytes(4, "little") + b"INFO")
    wav[4:8] = (len(wav) - 8).to_bytes(4, "little")
    with pytest.raises(InvalidInput, match=r"no samples \(0 s\)"):
        decode(bytes(wav))


def test_an_au_stream_without_a_length_decodes() -> None:
    sound = bytearray(encode(tone(1.0), "AU"))
    sound[8:12] = bytes(4)
    assert len(decode(bytes(sound))) == 16_000


@pytest.mark.parametrize(("file_format", "subtype"), [("FLAC", None), ("WAV", "FLOAT")])
def test_three_seconds_in_high_resolution_and_surround_decode(file_format: str, subtype: str | None) -> None:
    sound = np.repeat(tone(3.0, 96_000)[:, None], 8, axis=1)
    decoded = decode(encode(sound, file_format, subtype, 96_000))
    assert len(decoded) == 48_000
    assert strongest_frequency(decoded) == pytest.approx(440.0, abs=1.0)


def test_channels_times_samples_are_limited_by_the_header_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_files, "MAX_SAMPLES", 100_000)
    with pytest.raises(
        InvalidInput, match=r"88,200 or more samples in each of 2 channels, the limit is 100,000 in all"
    ):
        decode(encode(np.zeros((88_200, 2)), "FLAC"))
    with pytest.raises(InvalidInput, match="or more samples in each of 2 channels"):
        decode(without_stated_length(encode(np.zeros((88_200, 2)), "FLAC")))
    with pytest.raises(InvalidInput, match="or more samples in each of 2 channels"):
        decode(encode_container(np.zeros((2, 88_200)), "ipod", "aac", 44_100))


HALF_AN_HOUR = """
import io, resource, sys
import numpy as np, soundfile
from tritone.media import sound_files
sound = sys.stdin.buffer.read()
sound_files.decode(sound, 2**26, 14_400)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_follows_the_result_and_not_the_channels() -> None:
    """Half an hour of eight channels at 6 kHz is 345 MB of floats, its sound at 16 kHz 115 MB."""
    sound = encode(np.zeros((48_000 * 1_800 // 8, 8), np.int16), "FLAC", rate=6_000)
    short = encode(np.zeros((6_000, 8), np.int16), "FLAC", rate=6_000)
    small, large = (
        int(subprocess.run([sys.executable, "-c", HALF_AN_HOUR], input=file, stdout=-1, check=True).stdout)
        for file in (short, sound)
    )
    assert large - small < 250


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_reading_in_blocks_gives_what_the_whole_file_gives(rate: int) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, int(3.3 * rate)).astype(np.float32)
    whole = audio.resample(sound, rate, audio.SAMPLING_RATE)
    np.testing.assert_allclose(decode(encode(sound, subtype="FLOAT", rate=rate)), whole, atol=1e-6)


def test_channels_in_opposite_phase_do_not_cancel() -> None:
    """Half of the sound in opposite phase, half as it should be: both are heard, without a click between them."""
    left = tone(6.0, audio.SAMPLING_RATE)
    right = left * np.where(np.arange(len(left)) < 3 * audio.SAMPLING_RATE, -1, 1)
    mono = decode(encode(np.stack([left, right], axis=1), subtype="FLOAT", rate=audio.SAMPLING_RATE))
    seconds = np.sqrt(np.mean(mono.reshape(6, -1) ** 2, axis=1))
    np.testing.assert_allclose(seconds, 0.25 / np.sqrt(2), rtol=0.02)
    assert np.abs(np.diff(mono)).max() < 1.2 * np.abs(np.diff(left)).max()


def test_a_codec_that_nobody_records_with_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"encoded as (mp2|ac3); accepted are aac, alac"):
        decode(encode_container(np.stack([tone(1.0)] * 2), "matroska", "ac3", RATE))


def test_an_error_never_repeats_more_than_forty_characters_of_its_caller() -> None:
    with pytest.raises(InvalidInput) as refused:
        audio.file_format("x" * 20_000)
    assert len(str(refused.value)) < 200


def without_stated_length(flac: bytes) -> bytes:
    """A FLAC file as a stream writes it: the 36 bits of STREAMINFO's number of samples are 0."""
    streamed = bytearray(flac)
    streamed[21] &= 0xF0
    streamed[22:26] = bytes(4)
    return bytes(streamed)


def test_a_streamed_flac_without_a_length_decodes() -> None:
    assert len(decode(without_stated_length(encode(tone(1.0), "FLAC")))) == 16_000


@pytest.mark.parametrize("file_format", ["FLAC", "MP3"])
def test_length_is_limited_even_when_the_header_does_not_tell(file_format: str) -> None:
    file = encode(tone(31.0), file_format)
    with pytest.raises(InvalidInput, match=r"longer than the limit of 30 s"):
        decode(without_stated_length(file) if file_format == "FLAC" else file)


@pytest.mark.parametrize(
    ("audio_bytes", "sentence"),
    [
        (b"", r"empty \(0 bytes\)"),
        (
            np.random.default_rng(0).bytes(20_000),
            "no readable WAV, FLAC, OGG, MP3, M4A, AAC, WebM, AMR, 3GP, AIFF, CAF, AU or W64",
        ),
        (
            b"this is a text file, not a sound\n" * 50,
            "no readable WAV, FLAC, OGG, MP3, M4A, AAC, WebM, AMR, 3GP, AIFF, CAF, AU or W64",
        ),
        (encode(tone(2.0), "FLAC")[:-5_000], "damaged or cut short"),
        (encode(tone(1.0), "VOC"), "type VOC; send WAV, FLAC, OGG, MP3"),
        (encode(tone(0.0)), r"no samples \(0 s\)"),
        (encode(tone(31.5)), r"31\.50 s long, the limit is 30 s"),
        (encode(np.array([0, np.nan, 0], np.float32), subtype="FLOAT"), "no numbers"),
        (encode(np.array([0, np.inf, 0], np.float32), subtype="FLOAT"), "no numbers"),
        (encode(np.array([0, 32_000, 0], np.float32), subtype="FLOAT"), r"largest sample is 3\.2e\+04"),
        (encode(np.zeros((100, 9), np.float32)), "9 channels, the limit is 8"),
        (encode(tone(1.0), rate=500), "500 samples a second"),
    ],
    ids=["empty", "random", "text", "cut", "voc", "0s", "long", "nan", "inf", "integers", "channels", "rate"],
)
def test_bad_files_are_refused_with_the_reason(audio_bytes: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        decode(audio_bytes)


def test_too_many_bytes_are_refused_before_decoding() -> None:
    with pytest.raises(InvalidInput, match=r"44,144 bytes, the limit is 1,000 bytes"):
        sound_files.decode(encode(tone(0.5)), max_bytes=1_000, max_seconds=MAX_SECONDS)


def test_random_bytes_never_raise_anything_but_invalid_input() -> None:
    random = np.random.default_rng(1)
    heads = [b"", b"RIFF\x00\x10\x00\x00WAVEfmt ", b"fLaC", b"OggS", b"\xff\xfb\x90\x00", b"ID3\x04", *CONTAINER_HEADS]
    for number in range(120):
        with pytest.raises(InvalidInput):
            decode(heads[number % len(heads)] + random.bytes(int(random.integers(1, 3_000))))


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.zeros((2, 100), np.float32), r"got shape \[2, 100\]"),
        (np.zeros(0, np.float32), r"0 s"),
        (np.full(10, np.nan, np.float32), "no numbers"),
        (np.zeros(16_000 * 31, np.float32), r"31\.00 s long, the limit is 30 s"),
    ],
)
def test_bad_tensors_are_refused(samples: np.ndarray, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        audio.check_audio(samples, MAX_SECONDS)


@pytest.mark.parametrize("name", list(audio.FILE_FORMATS))
def test_every_format_that_we_write_holds_the_same_speech(name: str) -> None:
    """The sound at its rate, in its place but for the delay of a decoder, as loud as it was."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    written = audio.encode(speech, rate, name)
    heard = decode(written) if name != "pcm" else audio.resample(np.frombuffer(written, "<i2") / 2**15, rate, 16_000)
    sound = audio.resample(speech, rate, audio.SAMPLING_RATE)
    assert len(heard) == pytest.approx(len(sound), abs=0.15 * audio.SAMPLING_RATE)
    room = np.pad(heard, (0, len(sound) + DELAY))
    alike = [sound @ room[delay : delay + len(sound)] / (sound @ sound) for delay in range(DELAY)]
    assert max(alike) == pytest.approx(1.0, abs=0.05)
    assert written.startswith(BEGINNINGS[name])


@pytest.mark.parametrize("tempo", [0.5, 2.0])
def test_another_tempo_is_no_other_pitch(tempo: float) -> None:
    played = audio.at_tempo(tone(2.0, audio.SAMPLING_RATE), audio.SAMPLING_RATE, tempo)
    assert len(played) == 32_000 / tempo
    assert np.abs(played[-500:]).max() == pytest.approx(0.25, abs=0.03)  # to its very end
    assert strongest_frequency(played) == pytest.approx(440, abs=3)


def test_a_wav_we_write_is_read_back() -> None:
    samples = tone(0.25, 22_050)
    read, rate = soundfile.read(io.BytesIO(audio.encode_wav(samples, 22_050)), dtype="float32")
    assert rate == 22_050
    np.testing.assert_allclose(read, samples, atol=1 / 2**15)


def test_loud_samples_are_clipped_not_wrapped_around() -> None:
    read, _ = soundfile.read(io.BytesIO(audio.encode_wav(np.array([2.0, -2.0], np.float32), 16_000)))
    assert read[0] > 0.99
    assert read[1] < -0.99
