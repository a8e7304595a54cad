"""Pictures are looked at beside the engine's thread, so that answers in progress go on meanwhile."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from tritone import device
from tritone.language.token_stream import Prompt
from tritone.priority import step_back

# Input ids (length,), pixel values (pictures, 3, height, width), an adapter's name, to the prompt as the language model
# gets it, (length, hidden).
Embed = Callable[[torch.Tensor, torch.Tensor | None, str], torch.Tensor]


class Eyes:
    """A thread that embeds prompts with pictures, one after the other: then a neighbour changes no bit of them.

    Args:
        seen: called by the thread after each.
    """

    def __init__(self, embed: Embed, seen: Callable[[], None]) -> None:
        self._embed, self._seen = embed, seen
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(1, "eyes", _begin)

    def look(self, prompt: Prompt, *, alone: bool) -> "Future[torch.Tensor]":
        """The prompt, embedded, (length, hidden), once it is its turn.

        Args:
            alone: nobody else is being answered, so on a processor it gets all of it, and else half.
        """
        threads = self._threads if alone else max(1, self._threads // 2)
        future = self._pool.submit(self._look, prompt, threads)
        future.add_done_callback(lambda _: self._seen())
        return future

    def close(self) -> None:
        """End the thread; what it has not begun is not done."""
        self._pool.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _look(self, prompt: Prompt, threads: int) -> torch.Tensor:
        torch.set_num_threads(threads)  # of this thread alone
        embedded = self._embed(prompt.input_ids, prompt.pixel_values, prompt.adapter)
        if embedded.is_cuda:  # a step of those in progress comes before the next picture
            torch.cuda.current_stream(embedded.device).synchronize()
        return embedded


def _begin() -> None:
    device.take_up()
    step_back()
