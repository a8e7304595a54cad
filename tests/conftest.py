import os
import tempfile

import pytest
import torch

# Where models show their pulses: one folder a run, as `tritone serve` makes one a server.
_PULSES = tempfile.TemporaryDirectory(prefix="tritone-test-")
os.environ["TRITONE_PULSE"] = _PULSES.name

# Nothing in this process steps back (`tritone.priority`): it could not come forward again.
os.setpriority = lambda *_: None


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random numbers."""
    torch.manual_seed(0)
