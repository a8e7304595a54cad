"""What the tests of Whisper have it hear."""

import numpy as np

QUESTION = "What color is the circle in this picture?"
SENTENCES = [
    QUESTION,
    "Is there a yellow star on the left side?",
    "The mountain looks close, but it takes two days to walk there.",
]
SILENCE = np.full((80, 3_000), -1.0, np.float32)
