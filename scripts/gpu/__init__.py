"""What `check_gpu.py` looks at, one part a module: networks of the true sizes with random weights, and the server."""
