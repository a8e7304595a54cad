"""What was heard, and when: captions of spoken words, and an answer cut off at the word where it was interrupted."""

from collections.abc import Iterable, Sequence

import pysubs2

from tritone_client.types import ReplyChunk, Word

LONGEST_LINE = 42  # characters of a caption, as broadcasters have it
LONGEST_CAPTION_S = 6.0
PAUSE_S = 0.6  # a silence that ends a caption
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


def captions(words: Iterable[Word], format: str = "srt") -> str:
    """Subtitles of words in time: "srt" (SubRip) or "vtt" (WebVTT)."""
    lines = pysubs2.SSAFile()
    for group in _groups(list(words)):
        text = _join([word.text for word in group])
        lines.append(pysubs2.SSAEvent(round(group[0].start * 1000), round(group[-1].end * 1000), text=text))
    return str(lines.to_string(format))


def heard(chunks: Sequence[ReplyChunk], seconds: float) -> str:
    """The part of an answer that a listener heard who interrupted it `seconds` after its sound began.

    A word counts as heard when more than half of it was. Put it into the history in place of the whole answer, so
    that the model knows what it did not get to say:

    >>> messages += [{"role": "assistant", "content": heard(chunks, seconds)}]
    """
    text = ""
    for chunk in chunks:
        known = chunk.speech.words if chunk.speech else ()
        place = 0
        for word in known:
            if (word.start + word.end) / 2 > seconds:
                return (text + chunk.text[:place]).rstrip()
            found = chunk.text.find(word.text, place)
            place = found + len(word.text) if found >= 0 else place
        text += chunk.text
    return text.rstrip()


def _groups(words: list[Word]) -> Iterable[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and _is_full(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _is_full(group: list[Word], word: Word) -> bool:
    return (
        len(_join([each.text for each in (*group, word)])) > LONGEST_LINE
        or word.end - group[0].start > LONGEST_CAPTION_S
        or word.start - group[-1].end > PAUSE_S
        or group[-1].text.endswith(_SENTENCE_ENDS)
    )


def _join(texts: Sequence[str]) -> str:
    """Words with spaces between them, Chinese ones without."""
    joined = ""
    for text in texts:
        is_chinese = joined and (
            "\u3000" <= joined[-1] <= "\u9fff" or joined[-1] >= "\uff00" or "\u3400" <= text[:1] <= "\u9fff"
        )
        joined += text if not joined or is_chinese else f" {text}"
    return joined
