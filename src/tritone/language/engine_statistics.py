"""What the engine of LLaVA counts, and the names under which it stands on the metrics page."""

from dataclasses import dataclass


@dataclass
class Statistics:
    """What the engine has done so far, written by its thread alone."""

    slots: int  # in all
    active: int = 0  # slots taken
    queued: int = 0  # requests that wait for one
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    tokens: int = 0  # of answers
    steps: int = 0  # passes that gave answers their next token
    batched_tokens: int = 0  # how many they gave: batched_tokens / steps is the mean batch
    first_tokens: int = 0
    first_token_s: float = 0.0  # waiting of all first tokens together, in seconds

    def measurements(self) -> dict[str, tuple[str, float]]:
        """Name → (description, value) of the statistics, for a metrics page; totals are counters."""
        return {
            "tritone_llava_slots": ("Answers that can be in progress at once", self.slots),
            "tritone_llava_slots_active": ("Answers in progress", self.active),
            "tritone_llava_queued": ("Requests that wait for a slot", self.queued),
            "tritone_llava_finished_total": ("Answers that came to their end", self.finished),
            "tritone_llava_cancelled_total": ("Answers whose caller left", self.cancelled),
            "tritone_llava_failed_total": ("Answers that failed in the engine", self.failed),
            "tritone_llava_prompt_tokens_total": ("Tokens of prompts, pictures included", self.prompt_tokens),
            "tritone_llava_tokens_total": ("Tokens of answers", self.tokens),
            "tritone_llava_steps_total": ("Decoding passes; batched tokens per step is the batch", self.steps),
            "tritone_llava_batched_tokens_total": ("Tokens that decoding passes gave", self.batched_tokens),
            "tritone_llava_first_tokens_total": ("First tokens of answers", self.first_tokens),
            "tritone_llava_first_token_seconds_total": ("Their waiting together, queue included", self.first_token_s),
        }
