"""Letters: which script one is of, which language a text of it is likely in, and all digits as the ten of ASCII."""

from __future__ import annotations

import unicodedata
from collections import Counter

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code - 0xFEE0) not in "!(),.:;?"}

# Script → the language that most texts in it are in. Latin has none: too many languages are written in it.
LANGUAGES = {
    **{"CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "KATAKANA-HIRAGANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru"},
    **{"ARABIC": "ar", "HEBREW": "he", "GREEK": "el", "DEVANAGARI": "hi", "BENGALI": "bn", "GURMUKHI": "pa"},
    **{"GUJARATI": "gu", "ORIYA": "or", "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn", "MALAYALAM": "ml"},
    **{"SINHALA": "si", "THAI": "th", "MYANMAR": "my", "GEORGIAN": "ka", "ARMENIAN": "hy", "ETHIOPIC": "am"},
    **{"CHEROKEE": "chr"},
}
# Letters that only another language of the script has.
_TELLTALE = {
    **dict.fromkeys("іїєґІЇЄҐ", "uk"),
    **dict.fromkeys("ўЎ", "be"),
    **dict.fromkeys("ђјљњћџЂЈЉЊЋЏ", "sr"),
    **dict.fromkeys("پچژگ", "fa"),
    **dict.fromkeys("ٹڈڑےں", "ur"),
}
_SCRIPT_OF_LANGUAGE = {
    **{language: {script} for script, language in LANGUAGES.items()},
    **{"ja": {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}, "yue": {"CJK"}, "hak": {"CJK"}},
    **{language: {"CYRILLIC"} for language in ("uk", "be", "sr", "bg", "mk", "kk", "ky", "tt", "ba", "cv", "nog")},
    **{language: {"ARABIC"} for language in ("fa", "ur", "sd", "ug", "ku")},
    **{language: {"DEVANAGARI"} for language in ("mr", "ne", "kok")},
    **{"as": {"BENGALI"}, "bpy": {"BENGALI"}, "grc": {"GREEK"}, "hyw": {"ARMENIAN"}, "ti": {"ETHIOPIC"}},
    **{"shn": {"MYANMAR"}, "bs": {"CYRILLIC"}, "uz": {"CYRILLIC"}, "az": {"CYRILLIC"}},
}


def readable_scripts(language: str) -> set[str]:
    """The scripts that a voice of a language reads: its own, and Latin and Greek letters, which all know."""
    return {"LATIN", "GREEK"} | _SCRIPT_OF_LANGUAGE.get(language, set())


def language_by_script(text: str) -> str:
    """The language that a text is likely in, by its letters; "" for Latin ones. A Greek letter or two is a formula."""
    letters = [letter for letter in text if not letter.isascii() and letter.isalpha()]
    scripts = Counter(map(script_of, letters))
    latin = scripts.pop("LATIN", 0) + sum(letter.isascii() and letter.isalpha() for letter in text)
    if scripts["GREEK"] <= max(latin, 2):
        del scripts["GREEK"]
    if any(script.startswith(("HIRAGANA", "KATAKANA")) for script in scripts):
        return "ja"
    known = [script for script, _ in scripts.most_common() if script in LANGUAGES]
    if not known:
        return ""
    told = Counter(_TELLTALE[letter] for letter in letters if letter in _TELLTALE and script_of(letter) == known[0])
    return told.most_common(1)[0][0] if told else LANGUAGES[known[0]]


def is_han(character: str) -> bool:
    """Whether a character is a Chinese one."""
    return "\u3400" <= character[:1] <= "\u9fff"


def script_of(letter: str) -> str:
    """First word of a letter's Unicode name, after compatibility normalisation: "LATIN", "CYRILLIC", "CJK"."""
    plain = unicodedata.normalize("NFKC", letter)[:1] or letter
    return unicodedata.name(plain, "UNNAMED").split()[0]


def ascii_digits(text: str) -> str:
    """The text with "٣", "३" and "３" as "3" and other full-width signs narrow; as long as it was.

    Full-width marks between sentences and clauses stay, as they are how Chinese is written.
    """
    if text.isascii():
        return text
    return "".join(character if character.isascii() else _plain(character) for character in text)


def _plain(character: str) -> str:
    value = unicodedata.decimal(character, None)
    if value is not None:
        return str(value)
    return chr(_WIDE.get(ord(character), ord(character)))
