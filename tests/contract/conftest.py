import pytest
from contract.example import FILES, write


@pytest.fixture
def repositories(tmp_path):
    return write(tmp_path, FILES)
