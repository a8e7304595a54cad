import os
import signal
import tempfile

import pytest
import torch

# Where models show their pulses: one folder a run, as `tritone serve` makes one a server.
_PULSES = tempfile.TemporaryDirectory(prefix="tritone-test-")
os.environ["TRITONE_PULSE"] = _PULSES.name

# Nothing in this process steps back (`tritone.priority`): it could not come forward again.
os.setpriority = lambda *_: None


# A shell ignores SIGINT for what runs in its background, and all that this process starts would inherit that. The
# servers of the tests are to hear it; a handler that does nothing keeps it from this process alone.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random numbers."""
    torch.manual_seed(0)
