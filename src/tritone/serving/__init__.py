"""Between Triton and the models: requests in, function calls, responses out, and who is let in.

Runs inside Triton's stubs only. It knows no model; `model.py` files join it to the rooms that have them.
"""

from tritone.serving.entrance import DoorSettings, Settings
from tritone.serving.model import Model

__all__ = ["DoorSettings", "Model", "Settings"]
