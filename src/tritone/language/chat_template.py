"""A conversation as the checkpoint's own chat template writes it. It knows nothing of token ids."""

from collections.abc import Sequence
from typing import Any, get_args

from jinja2 import TemplateError
from transformers import LlavaProcessor

from tritone.errors import InvalidInput
from tritone.language.conversation import Message, Role

Content = str | list[dict[str, str]]

_WORD = "lighthouse"  # lower case without marks, which some templates take away


class ChatTemplate:
    """Writes prompts.

    Templates differ in what they read of a turn. Most of LLaVA's loop over typed parts and write a string as nothing
    at all, without an error; a few take strings alone. So each role is tried once, and gets what the template writes.
    """

    def __init__(self, processor: LlavaProcessor) -> None:
        self._processor = processor
        self._as_text: frozenset[str] = frozenset()
        for role in get_args(Role):
            if not self._writes(role, [{"type": "text", "text": _WORD}]) and self._writes(role, _WORD):
                self._as_text |= {role}

    def write(self, turns: Sequence[Message]) -> str:
        """The prompt of a conversation, up to where the answer begins.

        Raises: InvalidInput: the template refuses it, such as roles that do not alternate.
        """
        try:
            return self._render([(turn.role, self._content(turn)) for turn in turns])
        except TemplateError as error:
            raise InvalidInput(f"messages do not fit the checkpoint's chat template: {error}") from error

    def begins(self, prompt: str) -> bool:
        """Whether the begin-of-text token stands in a prompt; where it does not, the tokenizer is to add its own.

        The rule is that of transformers' `ProcessorMixin.apply_chat_template`.
        """
        token = self._processor.tokenizer.bos_token
        return token is not None and prompt.startswith(token)

    def _content(self, turn: Message) -> Content:
        if turn.role in self._as_text and not turn.pictures:
            return " ".join(turn.texts)
        return [part.model_dump() for part in turn.parts]

    def _writes(self, role: str, content: Content) -> bool:
        """Whether the words of such a turn arrive in the prompt, and not as Python would print a list."""
        around: list[tuple[str, Content]] = [] if role == "user" else [("user", self._content(_A_QUESTION))]
        turns = [(role, content), *around] if role == "system" else [*around, (role, content)]
        try:
            written = self._render(turns)
        except Exception:  # whatever a template does with what it does not read
            return False
        return _WORD in written and "'type'" not in written

    def _render(self, turns: Sequence[tuple[str, Content]]) -> str:
        messages: list[Any] = [{"role": role, "content": content} for role, content in turns]
        return str(self._processor.apply_chat_template(messages, add_generation_prompt=True))


_A_QUESTION = Message(role="user", content="What is it?")
