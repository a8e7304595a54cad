"""The language model: LLaVA, conversations, and the engine that answers many at once (continuous batching)."""
