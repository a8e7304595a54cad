"""What a response took."""

from openai.types.realtime import (
    RealtimeResponseUsage,
    RealtimeResponseUsageInputTokenDetails,
    RealtimeResponseUsageOutputTokenDetails,
)

from tritone_client import AnswerChunk, ReplyChunk


class Usage:
    """Tokens of the language model, which reads and writes words; sound has none here, and is told in seconds."""

    def __init__(self) -> None:
        self.read = self.written = self.images = 0
        self.audio_s = 0.0  # spoken

    def count(self, piece: ReplyChunk | AnswerChunk) -> None:
        """Take over the counts of the newest piece, which are those of all pieces up to it."""
        self.read = max(self.read, piece.prompt_tokens)
        self.written = max(self.written, piece.completion_tokens)
        self.images = max(self.images, piece.image_tokens)

    def told(self) -> RealtimeResponseUsage:
        """As events show it."""
        return RealtimeResponseUsage(
            input_tokens=self.read,
            output_tokens=self.written,
            total_tokens=self.read + self.written,
            input_token_details=RealtimeResponseUsageInputTokenDetails(
                text_tokens=self.read - self.images, image_tokens=self.images, audio_tokens=0, cached_tokens=0
            ),
            output_token_details=RealtimeResponseUsageOutputTokenDetails(text_tokens=self.written, audio_tokens=0),
        )
