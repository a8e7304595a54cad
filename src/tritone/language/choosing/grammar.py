"""Which tokens may come next in an answer that must be JSON of a schema, by llguidance."""

import json
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import torch
from llguidance import LLExecutor, LLMatcher, LLParserLimits
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask, fill_next_token_bitmask_par

from tritone.errors import InvalidInput

# Where any white space is allowed between the marks of JSON, a model may write it without end.
COMPACT = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
MANY = 24  # answers that are worth waking other threads for: one takes 5 to 50 µs
_LIMITS = LLParserLimits(verbose_errors=False)
_MOST_OF_A_REASON = 300  # characters


class Vocabulary:
    """The tokens of a checkpoint, as bytes.

    Args:
        tokenizer: a fast one of transformers.
        size: of the network's logits, which may be more than the tokenizer has.
        eos: token ids that end an answer.
    """

    def __init__(self, tokenizer: Any, size: int, eos: Collection[int]) -> None:
        self._written: dict[int, tuple[str, bytes | None]] = {}
        self._fault: Exception | None = None
        try:
            self.tokens = from_tokenizer(tokenizer, n_vocab=max(size, len(tokenizer)), eos_token=sorted(eos))
        except Exception as error:  # whatever it says of a tokenizer of another kind
            self._fault = error

    def check(self) -> None:
        """Raises: InvalidInput: llguidance cannot read this tokenizer."""
        if self._fault:
            raise InvalidInput(
                "response_format and logprobs are not served here: llguidance cannot read the checkpoint's tokenizer "
                f"({self._fault})"
            )

    def written(self, token: int) -> tuple[str, bytes | None]:
        """A token's text, bytes that are no characters as `\\xe4`, and its bytes; None for one that is no text."""
        if token not in self._written:
            data = self.tokens.decode_bytes([token])
            text = data.decode("utf-8", "backslashreplace")
            self._written[token] = (text, None if self.tokens.is_special_token(token) else data)
        return self._written[token]


class Grammar:
    """What answers of one kind may be; any number of them follow it, each with `begin`.

    Args:
        schema: a JSON object.

    Raises: InvalidInput: llguidance cannot compile it, or no JSON is like that; with the reason.
    """

    def __init__(self, vocabulary: Vocabulary, schema: str) -> None:
        self.schema = schema
        self._start = LLMatcher(vocabulary.tokens, _written(schema), log_level=0, limits=_LIMITS)
        if reason := self._start.get_error():
            raise _refusal(reason)
        first = self._start.deep_copy()
        first.try_consume_tokens(vocabulary.tokens.tokenize_bytes(b" "))
        first.compute_bitmask()  # what cannot begin is told here
        if first.is_stopped():
            raise _refusal("no JSON is like that")
        self._size = vocabulary.tokens.vocab_size

    def begin(self) -> "Progress":
        """The beginning of an answer."""
        return Progress(self._start.deep_copy(), self._size)


class Progress:
    """How far one answer has come in its grammar, over `size` tokens."""

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self.matcher, self.size = matcher, size

    @property
    def fault(self) -> InvalidInput | None:
        """Why it cannot go on: at some token the schema asks for more work than a step may take."""
        return _refusal(self.matcher.get_error()) if self.matcher.is_error() else None

    def take(self, token: int) -> bool:
        """Go on by a token that was allowed; False: there is a fault."""
        return self.matcher.consume_token(token)


def allowed(answers: Sequence[Progress], vocabulary: int, device: torch.device) -> torch.Tensor:
    """What may come next in each answer, bool (answers, vocabulary), where nobody waits for the device.

    The end of text may come where the JSON is whole, and nowhere else.
    """
    bits = allocate_token_bitmask(len(answers), answers[0].size)
    if len(answers) < MANY:
        for row, each in enumerate(answers):
            fill_next_token_bitmask(each.matcher, bits, row)
    else:
        fill_next_token_bitmask_par(_executor(), [(each.matcher, row) for row, each in enumerate(answers)], bits)
    words = torch.from_numpy(bits).to(device, non_blocking=True)
    numbers = torch.arange(32, device=device, dtype=torch.int32)
    return ((words[..., None] >> numbers) & 1).flatten(1)[:, :vocabulary].bool()


def _written(schema: str) -> str:
    """llguidance's grammar: JSON of the schema, behind the one space that chat templates leave to the answer."""
    answer = {"name": "answer", "json_schema": {**json.loads(schema), "x-guidance": COMPACT}}
    return json.dumps({"grammars": [{"lark_grammar": 'start: " "? @answer'}, answer]})


@cache
def _executor() -> LLExecutor:
    return LLExecutor()


def _refusal(reason: str) -> InvalidInput:
    words = " ".join(reason.replace("<non-verbose/>", "").split())
    return InvalidInput(f"response_format cannot be kept to: {words[:_MOST_OF_A_REASON]}")
