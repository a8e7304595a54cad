import pytest
import triton_python_backend_utils as pb_utils


@pytest.fixture(autouse=True)
def quiet():
    pb_utils.Logger.lines.clear()
