"""Text as it is read aloud: numbers, dates, times, units, money and abbreviations become words.

`read` keeps to each word what its writer wrote, so that times of the sound lead back to the text. English and Chinese;
numbers come from num2words and cn2an, names of units and months from Babel (CLDR), Chinese words from jieba.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

import cn2an
import jieba
from babel.dates import get_month_names
from babel.units import format_unit
from num2words import num2words

jieba.setLogLevel(logging.WARNING)  # it tells of its dictionary on stderr

# Abbreviation → unit of CLDR. Longer ones first: "km/h" before "km".
UNITS = {
    **{"km/h": "speed-kilometer-per-hour", "m/s": "speed-meter-per-second", "mph": "speed-mile-per-hour"},
    **{"km": "length-kilometer", "cm": "length-centimeter", "mm": "length-millimeter", "m": "length-meter"},
    **{"ft": "length-foot", "in": "length-inch", "mi": "length-mile", "kg": "mass-kilogram", "mg": "mass-milligram"},
    **{"g": "mass-gram", "lb": "mass-pound", "lbs": "mass-pound", "oz": "mass-ounce", "ml": "volume-milliliter"},
    **{"l": "volume-liter", "L": "volume-liter", "°C": "temperature-celsius", "℃": "temperature-celsius"},
    **{"°F": "temperature-fahrenheit", "ms": "duration-millisecond", "s": "duration-second", "min": "duration-minute"},
    **{"h": "duration-hour", "kW": "power-kilowatt", "W": "power-watt", "V": "electric-volt", "Hz": "frequency-hertz"},
    **{"kHz": "frequency-kilohertz", "MHz": "frequency-megahertz", "GHz": "frequency-gigahertz"},
    **{"KB": "digital-kilobyte", "MB": "digital-megabyte", "GB": "digital-gigabyte", "TB": "digital-terabyte"},
}
CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "CNY", "￥": "CNY"}
CHINESE_CURRENCIES = {"$": "美元", "€": "欧元", "£": "英镑", "¥": "元", "￥": "元"}
MAGNITUDES = ("thousand", "million", "billion", "trillion")
ABBREVIATIONS = {
    **{"Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Dr.": "Doctor", "Prof.": "Professor", "St.": "Saint"},
    **{"Jr.": "Junior", "Sr.": "Senior", "vs.": "versus", "etc.": "et cetera", "e.g.": "for example"},
    **{"i.e.": "that is", "approx.": "approximately", "Fig.": "Figure", "fig.": "figure", "dept.": "department"},
    **{"Jan.": "January", "Feb.": "February", "Aug.": "August", "Sept.": "September", "Oct.": "October"},
    **{"Nov.": "November", "Dec.": "December", "Inc.": "Incorporated", "Ltd.": "Limited", "Ave.": "Avenue"},
}
SYMBOLS = {
    "&": "and",
    "@": "at",
    "+": "plus",
    "=": "equals",
    "≈": "about",
    "×": "times",
    "÷": "divided by",
    "°": "degrees",
}
CHINESE_SYMBOLS = {"+": "加", "=": "等于", "≈": "约等于", "×": "乘", "÷": "除以", "&": "和"}
CHINESE_MEASURES = "个位张条只本件块间支辆种次天年月岁座杯家名颗朵"  # "2" before them is 两, not 二


@dataclass(frozen=True)
class Word:
    """A word of a text, and how it is read."""

    text: str  # as written, with the punctuation that touches it
    spoken: str
    space: str  # what stands between it and the next word


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    spoken: str


def read(text: str, language: str) -> list[Word]:
    """The words of a text in their order; their `text` and `space` join to the text, but for leading space.

    `language` is a primary subtag; one other than "en" and "zh" is read as it is written.
    """
    rules = {"en": _ENGLISH, "zh": _CHINESE}.get(language, [])
    spans = _spans(text, rules)
    pieces = _tokens(text, language)
    words: list[Word] = []
    for start, end in _merge(pieces, spans):
        behind = next((piece[0] for piece in pieces if piece[0] >= end), len(text))
        words.append(Word(text[start:end], _replace(text, start, end, spans), text[end:behind]))
    return words


def is_han(character: str) -> bool:
    """Whether a character is a Chinese one."""
    return "\u3400" <= character[:1] <= "\u9fff"


# ---- spans


def _spans(text: str, rules: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]) -> list[_Span]:
    """What the rules replace, left to right; where two rules want the same place, the earlier rule has it."""
    taken: list[_Span] = []
    for pattern, speak in rules:
        for found in pattern.finditer(text):
            if all(found.end() <= span.start or found.start() >= span.end for span in taken):
                taken.append(_Span(found.start(), found.end(), speak(found)))
    return sorted(taken, key=lambda span: span.start)


def _tokens(text: str, language: str) -> list[tuple[int, int]]:
    """Start and end of each word; punctuation goes with the word before it."""
    if language != "zh":
        return [found.span() for found in re.finditer(r"\S+", text)]
    tokens: list[tuple[int, int]] = []
    for token, start, end in jieba.tokenize(text):
        if token.isspace():
            continue
        glued = tokens and tokens[-1][1] == start and not any(character.isalnum() for character in token)
        tokens[-1:] = [(tokens[-1][0], end)] if glued else [*tokens[-1:], (start, end)]
    return tokens


def _merge(tokens: list[tuple[int, int]], spans: list[_Span]) -> list[tuple[int, int]]:
    """Tokens that one span covers become one."""
    merged: list[tuple[int, int]] = []
    for start, end in tokens:
        if merged and any(span.start < merged[-1][1] and span.end > start for span in spans):
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _replace(text: str, start: int, end: int, spans: list[_Span]) -> str:
    spoken, place = "", start
    for span in spans:
        if start <= span.start < end:
            spoken += text[place : span.start] + span.spoken
            place = span.end
    return re.sub(r" (?=[.,;:!?)])", "", " ".join((spoken + text[place:end]).split()))


# ---- English


def _number(digits: str) -> str:
    """ "1,000" → "one thousand", "3.50" → "three point five zero"."""
    digits = digits.replace(",", "")
    whole, _, fraction = digits.partition(".")
    if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
        return _digits(digits)
    spoken = num2words(int(whole or 0))
    spoken = re.sub(r"[-,]", " ", f"{spoken} point {_digits(fraction)}" if fraction else spoken)
    return " ".join(spoken.split())


def _digits(digits: str) -> str:
    names = {".": "point", **{str(number): num2words(number) for number in range(10)}}
    return " ".join(names[digit] for digit in digits if digit in names)


def _year(digits: str) -> str:
    return str(num2words(int(digits), to="year")).replace("-", " ")


def _decade(digits: str) -> str:
    """ "1990" → "nineteen nineties"."""
    return re.sub(r"y?$", lambda m: "ies" if m[0] else "s", _year(digits), count=1)


def _ordinal(digits: str) -> str:
    return str(num2words(int(digits), to="ordinal")).replace("-", " ")


def _money(found: re.Match[str]) -> str:
    currency, amount, magnitude = CURRENCIES[found[1]], found[2].replace(",", ""), found[3]
    whole, _, cents = amount.partition(".")
    if magnitude or len(cents) not in (0, 2) or int(whole) > 10**12:
        units = str(num2words(2, to="currency", currency=currency)).split(",")[0].split(" ", 1)[1]
        return f"{_number(amount)} {magnitude or ''} {units}"
    spoken = str(num2words(float(amount), to="currency", currency=currency, separator=" and"))
    spoken = re.sub(r" and zero \w+$", "", spoken) if not int(cents or 0) else spoken
    return spoken.replace("-", " ").replace(",", "")


def _date(month: int, day: str, year: str | None) -> str:
    name = get_month_names("wide", locale="en")[month]
    return f"{name} {_ordinal(day)}" + (f", {_year(year)}" if year else "")


def _numeric_date(year: str, month: str, day: str, written: str) -> str:
    if 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
        return _date(int(month), day, year)
    return " ".join(_number(part) for part in re.findall(r"\d+", written))


def _time(found: re.Match[str]) -> str:
    hours, minutes, half = int(found[1]), found[2], (found[3] or "").replace(".", "").lower()
    spoken = _number(str(hours))
    if minutes == "00":
        spoken += "" if half else " o'clock" if 0 < hours <= 12 else " hundred"
    else:
        spoken += f" oh {_number(minutes[1])}" if minutes[0] == "0" else f" {_number(minutes)}"
    return spoken + (f" {' '.join(half.upper())}" if half else "")


def _measure(found: re.Match[str]) -> str:
    """ "5 km" → "five kilometers"."""
    amount = found[2].replace(",", "")
    unit = format_unit(float(amount), UNITS[found[3]], "long", locale="en").lstrip("-0123456789.,").strip()
    return f"{'minus ' if found[1] else ''}{_number(amount)} {unit.replace('°', ' degrees ')}"


def _address(found: re.Match[str]) -> str:
    """A web or e-mail address: its scheme is not read."""
    address = re.sub(r"^https?://(www\.)?", "", found[0]).rstrip("/")
    names = {".": " dot ", "/": " slash ", "@": " at ", "-": " dash ", "_": " underscore ", ":": " colon "}
    return "".join(names.get(character, character) for character in address)


def _range(found: re.Match[str]) -> str:
    return f"{_number(found[1])} to {_number(found[2])}"


def _fraction(found: re.Match[str]) -> str:
    count, part = int(found[1]), {"2": "half", "4": "quarter"}.get(found[2], _ordinal(found[2]))
    plural = {"half": "halves"}.get(part, f"{part}s")
    return f"{_number(found[1])} {part if count == 1 else plural}"


_N = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_LONG_MONTH = "|".join(get_month_names("wide", locale="en").values())
_MONTHS = {name: number for number, name in get_month_names("wide", locale="en").items()}
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_B, _E = r"(?<![\w.])", r"(?!\w)"

_ENGLISH: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (re.compile(r"https?://[^\s,;!?]+[^\s.,;:!?)]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), _address),
    (re.compile(rf"([$€£¥])\s?({_N})(?:\s({'|'.join(MAGNITUDES)}))?{_E}"), _money),
    (re.compile(rf"{_B}(\d{{4}})-(\d\d)-(\d\d){_E}"), lambda m: _numeric_date(m[1], m[2], m[3], m[0])),
    (re.compile(rf"{_B}(\d\d?)/(\d\d?)/(\d{{4}}){_E}"), lambda m: _numeric_date(m[3], m[1], m[2], m[0])),
    (
        re.compile(rf"{_B}({_LONG_MONTH}) (\d\d?)(?:st|nd|rd|th)?(?:,? (\d{{4}}))?{_E}"),
        lambda m: _date(_MONTHS[m[1]], m[2], m[3]),
    ),
    (
        re.compile(rf"{_B}(\d\d?) ({_LONG_MONTH})(?: (\d{{4}}))?{_E}"),
        lambda m: _date(_MONTHS[m[2]], m[1], m[3]),
    ),
    (re.compile(rf"{_B}([01]?\d|2[0-3]):([0-5]\d)(?:\s?([AaPp]\.?[Mm]\.?))?{_E}"), _time),
    (re.compile(rf"{_B}(1[1-9]\d0|20\d0)s{_E}"), lambda m: _decade(m[1])),
    (re.compile(rf"(?<!\w)([-−]?)({_N})\s?%"), lambda m: f"{'minus ' if m[1] else ''}{_number(m[2])} percent"),
    (re.compile(rf"(?<!\w)([-−]?)({_N})\s?({_UNIT}){_E}"), _measure),
    (re.compile(rf"{_B}(\d+)(?:st|nd|rd|th){_E}"), lambda m: _ordinal(m[1])),
    (re.compile(rf"{_B}({_N})\s?[-–]\s?({_N}){_E}"), _range),
    (re.compile(rf"{_B}(\d)/(\d\d?){_E}"), _fraction),
    (re.compile(rf"{_B}(1[1-9]\d\d|20\d\d){_E}(?![.,]\d)"), lambda m: _year(m[1])),
    (re.compile(r"(?<!\w)\+?\d{7,}(?!\w)"), lambda m: _digits(m[0])),
    (re.compile(rf"(?:(?<=\s)|^)[-−]({_N})"), lambda m: f"minus {_number(m[1])}"),
    (re.compile(r"(?:No\.|#)\s?(\d+)"), lambda m: f"number {_number(m[1])}"),
    (re.compile(_N), lambda m: f" {_number(m[0])} "),
    (
        re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, ABBREVIATIONS)) + ")"),
        lambda m: ABBREVIATIONS[m[0]],
    ),
    (re.compile("[" + re.escape("".join(SYMBOLS)) + "]"), lambda m: f" {SYMBOLS[m[0]]} "),
]


# ---- Chinese


def _chinese(digits: str) -> str:
    """ "1,000" → "一千", "3.5" → "三点五"."""
    digits = digits.replace(",", "")
    whole = digits.partition(".")[0]
    if len(whole) > 16 or (len(whole) > 1 and whole.startswith("0")):
        return _chinese_digits(digits)
    return str(cn2an.an2cn(digits, "low"))


def _chinese_digits(digits: str) -> str:
    return "".join(
        "点" if digit == "." else "零一二三四五六七八九"[int(digit)] for digit in digits if digit in "0123456789."
    )


def _chinese_measure(found: re.Match[str]) -> str:
    amount = found[2].replace(",", "")
    unit = format_unit(2, UNITS[found[3]], "long", locale="zh").replace(" ", "")
    if not any(map(is_han, unit)):
        unit = format_unit(2, UNITS[found[3]], "short", locale="zh").replace(" ", "")
    return f"{'负' if found[1] else ''}{unit.replace('2', _chinese(amount), 1)}"


def _chinese_time(found: re.Match[str]) -> str:
    minutes = "" if found[2] == "00" else f"{'零' if found[2][0] == '0' else ''}{_chinese(str(int(found[2])))}分"
    return f"{_chinese(str(int(found[1])))}点{minutes}"


_CHINESE: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (re.compile(r"https?://[^\s，。,;!?]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII), _address),
    (re.compile(rf"([$€£¥￥])\s?({_N})"), lambda m: _chinese(m[2]) + CHINESE_CURRENCIES[m[1]]),
    (
        re.compile(r"(\d{4})[-/](\d\d?)[-/](\d\d?)"),
        lambda m: f"{_chinese_digits(m[1])}年{_chinese(str(int(m[2])))}月{_chinese(str(int(m[3])))}日",
    ),
    (re.compile(r"(\d{4})(?=年)"), lambda m: _chinese_digits(m[1])),
    (re.compile(r"(?<!\d)([01]?\d|2[0-3])[:：]([0-5]\d)(?!\d)"), _chinese_time),
    (re.compile(rf"([-−]?)({_N})\s?[%％]"), lambda m: f"{'负' if m[1] else ''}百分之{_chinese(m[2])}"),
    (re.compile(rf"([-−]?)({_N})\s?({_UNIT})(?![A-Za-z])"), _chinese_measure),
    (re.compile(rf"({_N})\s?[-–~～]\s?({_N})"), lambda m: f"{_chinese(m[1])}到{_chinese(m[2])}"),
    (re.compile(r"(\d+)/(\d+)"), lambda m: f"{_chinese(m[2])}分之{_chinese(m[1])}"),
    (re.compile(r"\+?\d{7,}"), lambda m: _chinese_digits(m[0])),
    (re.compile(rf"(?<![\d.])2(?=[{CHINESE_MEASURES}])"), lambda m: "两"),
    (re.compile(rf"(?<![\w])[-−]({_N})"), lambda m: f"负{_chinese(m[1])}"),
    (re.compile(_N), lambda m: _chinese(m[0])),
    (re.compile("[" + re.escape("".join(CHINESE_SYMBOLS)) + "]"), lambda m: CHINESE_SYMBOLS[m[0]]),
]


def language_of(text: str) -> str:
    """ "zh" if the text holds a Chinese character, else "": any language of Latin script."""
    return "zh" if any(map(is_han, text)) else ""
