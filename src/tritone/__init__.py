"""Tritone: text, image and speech models in plain PyTorch, served by NVIDIA Triton."""
