"""OpenAI-compatible HTTP API of a Tritone server."""
