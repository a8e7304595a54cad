"""Hostile files: small to send, dear to read. All are valid, or nearly."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile
from PIL import Image

PIXELS_A_SIDE = 7_000  # 49 megapixels, just within the server's 50


def flac(seconds: float, rate: int, channels: int, loudness: float = 0.0) -> bytes:
    """A FLAC file of noise, or of silence, which takes next to nothing."""
    noise, file = np.random.default_rng(0), io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, "PCM_16", format="FLAC") as sound:
        for _ in range(int(seconds)):
            sound.write(loudness * noise.standard_normal((rate, channels)))
    return file.getvalue()


def silent_wav(size: int) -> bytes:
    """A WAV file of so many bytes: 16-bit mono at 16 kHz."""
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16) + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(head) + size) + head + bytes(size)


def huge_png() -> bytes:
    """49 megapixels of one colour in some 150 kB."""
    file = io.BytesIO()
    Image.new("RGB", (PIXELS_A_SIDE, PIXELS_A_SIDE), "white").save(file, "PNG")
    return file.getvalue()


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG of 49 megapixels whose last scan, some 100 bytes, comes again and again: 50 ms each time."""
    file = io.BytesIO()
    Image.new("L", (PIXELS_A_SIDE, PIXELS_A_SIDE), 200).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    tables = data.rfind(b"\xff\xc4")  # the last scan's Huffman table, its header and its bits
    return data[:-2] + data[tables:-2] * scans + data[-2:]


def repeated_speech(wav: bytes, seconds: float) -> bytes:
    """A recording said again and again until it is so long."""
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    samples = np.concatenate([samples, np.zeros(rate // 2, np.float32)])
    file = io.BytesIO()
    soundfile.write(file, np.resize(samples, int(seconds * rate)), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
