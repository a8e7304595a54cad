"""Between Triton and the models: requests in, function calls, responses out, and who is let in.

Runs inside Triton's stubs only. It knows no model; `model.py` files join it to the rooms that have them.
"""

from tritone.serving.model import DoorSettings, Model, Settings

__all__ = ["DoorSettings", "Model", "Settings"]
