"""The machine's microphone and loudspeaker, with a sounddevice whose callbacks the test calls."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tritone_client import Speech
from tritone_client.cli import sound


class Stream:
    def __init__(self, **settings):
        self.settings, self.started, self.closed = settings, False, False

    def start(self):
        self.started = True

    def close(self):
        self.closed = True

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture
def device(monkeypatch):
    """A sounddevice that remembers its streams."""
    streams = []

    def open_stream(**settings):
        streams.append(Stream(**settings))
        return streams[-1]

    fake = SimpleNamespace(
        PortAudioError=type("PortAudioError", (Exception,), {}), streams=streams, query_devices=lambda kind: {},
        InputStream=open_stream, OutputStream=open_stream,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def fill(stream, frames):
    out = np.full((frames, 1), 9, np.float32)
    stream.settings["callback"](out, frames, None, None)
    return out[:, 0].tolist()


def test_speech_is_played_in_order_and_then_there_is_silence(device):
    player = sound.Loudspeaker()
    player.play(Speech(np.array([0.1, 0.2, 0.3], np.float32), 2, b""))
    player.play(Speech(np.array([0.4], np.float32), 2, b""))
    [stream] = device.streams
    assert (stream.started, stream.settings["samplerate"], stream.settings["channels"]) == (True, 2, 1)
    assert fill(stream, 2) == pytest.approx([0.1, 0.2])
    assert not player.is_silent()
    assert fill(stream, 3) == pytest.approx([0.3, 0.4, 0])
    assert player.is_silent()


def test_stopping_tells_how_much_was_heard_and_drops_the_rest(device):
    player = sound.Loudspeaker()
    player.play(Speech(np.ones(10, np.float32), 4, b""))
    fill(device.streams[0], 6)
    assert player.stop() == 1.5
    assert fill(device.streams[0], 2) == [0, 0]
    assert player.stop() == 0


def test_a_voice_of_another_rate_gets_its_own_stream(device):
    player = sound.Loudspeaker()
    player.play(Speech(np.zeros(0, np.float32), 4, b""))
    player.play(Speech(np.ones(1, np.float32), 8, b""))
    first, second = device.streams
    assert first.closed
    assert second.settings["samplerate"] == 8


def test_blocks_of_the_microphone(device):
    blocks = sound.microphone()
    device.InputStream = lambda **settings: Talking(**settings)
    assert next(blocks).tolist() == [1, 2]
    assert next(blocks).tolist() == [3, 4]
    blocks.close()
    assert Talking.last.closed
    assert Talking.last.settings["samplerate"] == 16_000


class Talking(Stream):
    """A microphone that has heard two blocks when it is opened."""

    def __enter__(self):
        Talking.last = self
        for samples in ([[1], [2]], [[3], [4]]):
            self.settings["callback"](np.array(samples, np.int16), 2, None, None)
        return self


def test_a_machine_without_devices_says_so(device, monkeypatch):
    def none(**_):
        raise device.PortAudioError("Error querying device -1")

    device.query_devices = lambda kind: none()
    with pytest.raises(sound.NoSound, match="this machine plays no sound: Error querying device -1"):
        sound.Loudspeaker()
    device.InputStream = none
    with pytest.raises(sound.NoSound, match="this machine hears nothing: Error querying device -1"):
        next(sound.microphone())
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    for wanted in (sound.Loudspeaker, sound.detector, lambda: next(sound.microphone())):
        with pytest.raises(sound.NoSound, match=r"pip install 'tritone-client\[microphone\]'"):
            wanted()
