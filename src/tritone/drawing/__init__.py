"""Pictures that are made: Stable Diffusion's networks, the denoising loop, and prompts with their styles."""
