"""vLLM as an engine of `Llava`: paged cache, prefix caching, tensor parallelism, FP8. Imported where it is asked."""
