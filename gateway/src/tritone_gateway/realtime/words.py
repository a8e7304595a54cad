"""Words of a text, in languages with spaces between them and without."""

import re

from tritone_client import Word

# A letter of a script without spaces, with the marks behind it; or what stands between two spaces. In front of either
# there may be space.
_ALONE = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"\s*(?:[{_ALONE}][^\w\s]*|[^\s{_ALONE}]+)")
_SAME = re.compile(r"[\W_]+")


def words_of(text: str) -> list[str]:
    """The words with the spaces in front of them; they join to the text, but for spaces at its end."""
    return _WORD.findall(text)


def same(one: str, other: str) -> bool:
    """Whether two words are one, but for capitals and marks."""
    return _SAME.sub("", one).casefold() == _SAME.sub("", other).casefold()


def agreed(before: str, now: str) -> str:
    """The beginning of a text that its earlier version had too, without the last word, which may still change."""
    words = words_of(now)[:-1]
    count = 0
    for one, other in zip(words_of(before), words, strict=False):
        if one != other:
            break
        count += 1
    return "".join(words[:count])


def continued(told: str, final: str) -> str | None:
    """What is to be told behind what was, so that together they are the final text but for capitals and marks.

    None: the final text has other words.
    """
    if final.startswith(told):
        return final[len(told) :]
    ours, theirs = words_of(told), words_of(final)
    if len(ours) > len(theirs) or not all(same(one, other) for one, other in zip(ours, theirs, strict=False)):
        return None
    return "".join(theirs[len(ours) :])


def joined(text: str, more: str) -> str:
    """Two texts, with a space between them where their scripts have one."""
    alone = re.match(f"[{_ALONE}]", more) or re.search(rf"[{_ALONE}][^\w\s]*$", text)
    return text + more if not text or not more or alone else f"{text} {more}"


def spread(text: str, begin: float, end: float) -> tuple[Word, ...]:
    """Words with times, in seconds, as if every letter took as long as another."""
    words = [word.strip() for word in words_of(text)]
    letters = sum(map(len, words))
    times, place = [], begin
    for word in words:
        stop = place + (end - begin) * len(word) / letters
        times.append(Word(word, place, stop))
        place = stop
    return tuple(times)
