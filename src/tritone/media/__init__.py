"""Files of sound and pictures in and out, and what they may cost: bytes to samples, bytes to pixels. No networks.

The modalities stand on it.
"""
