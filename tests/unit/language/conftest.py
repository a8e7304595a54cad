"""What several files of this room's tests need."""

import pytest
from fake_vllm import installed


@pytest.fixture
def vllm(monkeypatch):
    """vLLM is there; the AsyncLLMs that were made."""
    with installed(monkeypatch) as llms:
        yield llms
