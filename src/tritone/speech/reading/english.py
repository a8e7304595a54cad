"""How English is read aloud: patterns of what is written, and what is said instead. Numbers come from num2words.

Where two rules want the same place, the earlier has it. Numbers of more than 15 digits are read digit by digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from babel.dates import get_month_names
from num2words import num2words

from tritone.speech.reading import english_names as names
from tritone.speech.reading.measures import (
    CURRENCIES,
    CURRENCY,
    EMAIL,
    EMOJI,
    FRACTIONS,
    NUMBER,
    SUPERSCRIPTS,
    UNIT,
    WEB,
    domain,
    english_unit,
)

LONGEST_NUMBER = 15  # digits


def number(digits: str) -> str:
    """ "1,000" → "one thousand", "3.50" → "three point five zero"."""
    digits = digits.replace(",", "")
    whole, _, fraction = digits.partition(".")
    if len(whole) > LONGEST_NUMBER or (len(whole) > 1 and whole.startswith("0")):
        return _digits(digits)
    spoken = num2words(int(whole or 0))
    spoken = re.sub(r"[-,]", " ", f"{spoken} point {_digits(fraction)}" if fraction else spoken)
    return " ".join(spoken.split())


_DIGITS = {".": "point", **{str(digit): num2words(digit) for digit in range(10)}}


def _digits(digits: str) -> str:
    return " ".join(_DIGITS[digit] for digit in digits if digit in _DIGITS)


def _groups(written: str) -> str:
    """ "555-1234" → "five five five, one two three four"."""
    return ", ".join(_digits(group) for group in re.findall(r"\d+", written))


def _year(digits: str) -> str:
    return str(num2words(int(digits), to="year")).replace("-", " ")


def _decade(digits: str) -> str:
    """ "1990" → "nineteen nineties"."""
    return re.sub(r"y?$", lambda m: "ies" if m[0] else "s", _year(digits), count=1)


def _ordinal(digits: str) -> str:
    if len(digits := digits.replace(",", "")) > LONGEST_NUMBER:
        return f"{_digits(digits)} th"
    return " ".join(re.sub("[-,]", " ", str(num2words(int(digits), to="ordinal"))).split())


def _money(found: re.Match[str]) -> str:
    minus, sign, amount, magnitude = found.groups()
    return ("minus " if minus else "") + _amount(amount, CURRENCIES[sign], magnitude)


def _amount(amount: str, currency: str, magnitude: str | None = None) -> str:
    """ "5.20" in USD → "five dollars and twenty cents"; "3,50" is read with a decimal comma."""
    amount = re.sub(r",(?=\d\d$)", ".", amount).replace(",", "")
    whole, _, cents = amount.partition(".")
    unit, units, cent, many_cents = names.MONEY[currency]
    if magnitude or len(cents) not in (0, 2) or len(whole) > LONGEST_NUMBER:
        return " ".join(filter(None, [number(amount), names.MAGNITUDES.get(magnitude or "", ""), units]))
    parts = [f"{number(whole)} {unit if whole == '1' else units}"] if int(whole) or not int(cents or 0) else []
    parts += [f"{number(str(int(cents)))} {cent if cents == '01' else many_cents}"] if int(cents or 0) else []
    return " and ".join(parts)


def _date(month: int, day: str, year: str | None) -> str:
    name = get_month_names("wide", locale="en")[month]
    return f"{name} {_ordinal(day)}" + (f", {_year(year)}" if year else "")


def _numeric_date(year: str, month: str, day: str, written: str) -> str:
    """A month of 13 or more is the day: "31/12/2024"."""
    if int(month) > 12:
        month, day = day, month
    if 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
        return _date(int(month), day, year)
    return " ".join(number(part) for part in re.findall(r"\d+", written))


def _month_days(found: re.Match[str]) -> str:
    spoken = _date(_MONTHS[found[1][:3]], found[2], None)
    return spoken + (f" to {_ordinal(found[3])}" if found[3] else "") + (f", {_year(found[4])}" if found[4] else "")


def _time(found: re.Match[str]) -> str:
    hours, minutes, seconds, half = found.groups()
    spoken = number(str(int(hours)))
    half = (half or "").replace(".", "").upper()
    if minutes == "00" and not seconds:
        spoken += "" if half else " o'clock" if 0 < int(hours) <= 12 else " hundred"
    else:
        spoken += f" oh {number(minutes[1])}" if minutes[0] == "0" else f" {number(minutes)}"
    spoken += f" and {number(str(int(seconds)))} seconds" if seconds else ""
    return spoken + (f" {' '.join(half)}" if half else "")


def _measure(found: re.Match[str]) -> str:
    """ "5 km" → "five kilometers", "5–10 km" → "five to ten kilometers"."""
    minus, first, last, unit = found.groups()
    amount = number(first) + (f" to {number(last)}" if last else "")
    return f"{'minus ' if minus else ''}{amount} {english_unit(unit, first == '1' and not last)}"


def _percent(found: re.Match[str]) -> str:
    minus, first, last = found.groups()
    return f"{'minus ' if minus else ''}{number(first)}{f' to {number(last)}' if last else ''} percent"


def _email(found: re.Match[str]) -> str:
    signs = {".": " dot ", "@": " at ", "-": " dash ", "_": " underscore ", "+": " plus "}
    return "".join(signs.get(character, character) for character in found[0])


def _web(found: re.Match[str]) -> str:
    """The domain alone: nobody listens to the rest of an address."""
    return domain(found[0]).replace(".", " dot ").replace("-", " dash ").replace(":", " colon ")


def _range(found: re.Match[str]) -> str:
    first, last = found.groups()
    if re.fullmatch(r"(?:1[1-9]|20)\d\d", first) and re.fullmatch(r"(?:1[1-9]|20)?\d\d", last):
        return f"{_year(first)} to {_year(last) if len(last) == 4 else number(last)}"
    # "747-400" counts down: a name. "3-2" is a score.
    descends = len(first) >= 3 and float(first.replace(",", "")[:LONGEST_NUMBER]) > float(last.replace(",", "")[:15])
    return f"{number(first)} {'' if descends else 'to '}{number(last)}"


def _fraction(count: str, of: str) -> str:
    part = {"2": "half", "4": "quarter"}.get(of, _ordinal(of))
    return f"{number(count)} {part if int(count) == 1 else {'half': 'halves'}.get(part, f'{part}s')}"


def _mixed(found: re.Match[str]) -> str:
    return (f"{number(found[1])} and " if found[1] else "") + _fraction(found[2], found[3])


def _sign_fraction(found: re.Match[str]) -> str:
    count, of = FRACTIONS[found[2]]
    return (f"{number(found[1])} and " if found[1] else "") + _fraction(str(count), str(of))


def _power(found: re.Match[str]) -> str:
    base, exponent = found[1], (found[2] or found[3]).translate(SUPERSCRIPTS).strip("{}")
    spoken = number(base) if base[:1].isdigit() else base
    if exponent in ("2", "3"):
        return f" {spoken} {'squared' if exponent == '2' else 'cubed'} "
    exponent = exponent.replace("−", "-")
    named = number(exponent.lstrip("-+")) if exponent.lstrip("-+").isdigit() else exponent.lstrip("-+")
    return f" {spoken} to the power of {'minus ' if exponent[0] == '-' else ''}{named} "


def _roman(numeral: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}[letter] for letter in numeral]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def _street(found: re.Match[str]) -> str:
    return found[1] + {"St": "Street", "Dr": "Drive"}[found[2]]


def _spelled(found: re.Match[str]) -> str:
    return " ".join(found[1].replace(".", "")) + ("s" if found[2] else "")


N = NUMBER
_LONG_MONTH = "|".join(get_month_names("wide", locale="en").values())
_MONTHS = {name[:3]: month for month, name in get_month_names("wide", locale="en").items()}
_MONTH = rf"((?:{_LONG_MONTH})|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?)"
_B, _E = r"(?<![\w.])", r"(?!\w)"
_TO = r"\s?[-–—~]\s?"
_CLOCK = r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?!:?\d)"
_NAME = r"[A-Z][a-z]+"
_ROMAN = r"((?=[IVX])(?:X{0,3})(?:IX|IV|V?I{0,3}))"
_SUPER = "[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}"

RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (EMAIL, _email),
    (WEB, _web),
    (EMOJI, lambda m: ""),
    # Numbers that name things
    (re.compile(rf"{_B}\d{{1,3}}(?:\.\d{{1,3}}){{3}}{_E}(?!\.\d)"), lambda m: _digits(m[0]).replace("point", "dot")),
    (
        re.compile(r"(?<![\w.])([vV](?=\d++\.\d)|(?=\d++\.\d++\.\d))(\d{1,15}(?:\.\d{1,15}){1,9})(?![\w]|\.\d)"),
        lambda m: ("version " if m[1] else "") + " point ".join(map(number, m[2].split("."))),
    ),
    (
        re.compile(rf"(?<![\w.-])(?:\+\d{{1,3}}[ .-]?)?(?:\(\d{{3}}\) ?|\d{{3}}[-.])\d{{3}}[-.]\d{{4}}(?![\w-]){_E}"),
        lambda m: ("plus " if m[0][0] == "+" else "") + _groups(m[0]),
    ),
    (re.compile(r"(?<![\w.-])\+\d{1,3}(?:[ -]\d{2,15}){1,6}(?![\w-])"), lambda m: f"plus {_groups(m[0])}"),
    (re.compile(r"(?<![\w.-])\d{3}-\d{4}(?![\w-])"), lambda m: _groups(m[0])),
    (re.compile(r"(?:\bNo\.|(?<![\w&])#)\s?(\d++)"), lambda m: f"number {number(m[1])}"),
    (re.compile(r"\bNos\.(?=\s?\d)"), lambda m: "numbers"),
    (re.compile(rf"{_B}24/7{_E}"), lambda m: "twenty four seven"),
    (re.compile(rf"{_B}9/11{_E}"), lambda m: "nine eleven"),
    (re.compile(rf"{_B}50/50{_E}"), lambda m: "fifty fifty"),
    (re.compile(r"(?:(?<=\b[Cc]all )|(?<=\b[Dd]ial ))\d{3,6}+(?![\w-]|\.\d)"), lambda m: _digits(m[0])),
    # Money
    (
        re.compile(rf"(?<!\w)([-−]?)({CURRENCY})\s?(\d++,\d\d(?![\d,])|{N})(?:\s?({'|'.join(names.MAGNITUDES)}))?{_E}"),
        _money,
    ),
    (
        re.compile(rf"{_B}(\d++,\d\d(?![\d,])|{N})\s?(€|£|USD|EUR|GBP|CNY|RMB)(?![\w€£])"),
        lambda m: _amount(m[1], {"€": "EUR", "£": "GBP", "RMB": "CNY"}.get(m[2], m[2])),
    ),
    (re.compile(rf"{_B}({N})\s?¢"), lambda m: f"{number(m[1])} {'cent' if m[1] == '1' else 'cents'}"),
    # Dates and times
    (re.compile(rf"{_B}(\d{{4}})-(\d\d)-(\d\d){_E}(?!-)"), lambda m: _numeric_date(m[1], m[2], m[3], m[0])),
    (re.compile(rf"{_B}(\d\d?)/(\d\d?)/(\d{{4}}){_E}"), lambda m: _numeric_date(m[3], m[1], m[2], m[0])),
    (
        re.compile(
            rf"{_B}{_MONTH} (\d\d?)(?:st|nd|rd|th)?(?:{_TO}(\d\d?)(?:st|nd|rd|th)?)?(?:,? (\d{{4}}))?{_E}(?![:.]\d)"
        ),
        _month_days,
    ),
    (
        re.compile(rf"{_B}(\d\d?) {_MONTH}(?: (\d{{4}}))?{_E}"),
        lambda m: _date(_MONTHS[m[2][:3]], m[1], m[3]),
    ),
    (
        re.compile(rf"{_B}{_CLOCK}(?:\s?([AaPp]\.?[Mm]\b\.?))?{_E}"),
        lambda m: f"{number(m[1])} to {number(m[2])}" if names.is_ratio(m) else _time(m),
    ),
    (re.compile(r"(?:(?<=\d:\d\d)|(?<=[AaPp][Mm])|(?<=[ap]\.m\.))\s?[-–—]\s?(?=\d)"), lambda m: " to "),
    (re.compile(rf"{_B}(1[0-2]|[1-9])\s?([AaPp])\.?[Mm]\b\.?"), lambda m: f"{number(m[1])} {m[2].upper()} M"),
    # "27:30" is a time that something took.
    (re.compile(rf"{_B}(\d{{2,3}}):([1-5]\d){_E}(?!:)"), lambda m: f"{number(m[1])} {number(m[2])}"),
    (re.compile(rf"{_B}(\d{{1,6}}):(\d{{1,6}}){_E}(?!:)"), lambda m: f"{number(m[1])} to {number(m[2])}"),
    (re.compile(rf"{_B}(1[1-9]\d0|20\d0)['’]?s{_E}"), lambda m: _decade(m[1])),
    (re.compile(rf"(?:(?<!\w)['’]|{_B})([2-9]0)s{_E}"), lambda m: _decade(m[1])),
    # Amounts
    (re.compile(rf"(?<![\w.])([-−]?)({N})(?:%?{_TO}({N}))?\s?%"), _percent),
    (re.compile(r"(?<![\w.])(\d)['′]\s?(\d\d?)[\"″]"), lambda m: f"{number(m[1])} foot {number(m[2])}"),
    (re.compile(rf"(?<![\w.])([-−]?)({N})(?:(?:\s?(?:{UNIT}))?{_TO}({N}))?\s?({UNIT}){_E}"), _measure),
    (re.compile(rf"(?<=per )({UNIT}){_E}"), lambda m: english_unit(m[1], True)),
    (
        re.compile(rf"({N}|(?<![A-Za-z])[A-Za-z]|(?<=\)))(?:(?:\^|\*\*)(\{{?[-−+]?[A-Za-z0-9]{{1,9}}\}}?)|({_SUPER}))"),
        _power,
    ),
    (re.compile(rf"{_B}({N})(?:st|nd|rd|th){_E}"), lambda m: _ordinal(m[1])),
    (re.compile(r"(?<=[a-z])[-–—](?=\d{1,15}(?:st|nd|rd|th)\b)"), lambda m: " to "),
    (re.compile(rf"{_B}({N}) ?[-−] ?({N})(?= ?=)"), lambda m: f"{number(m[1])} minus {number(m[2])}"),
    (re.compile(r"(?<![\w.-])\d{1,15}(?:-\d{1,15}){2,9}(?![\w-])"), lambda m: _groups(m[0])),
    (re.compile(rf"{_B}({N}){_TO}({N}){_E}(?!-)"), _range),
    (re.compile(rf"{_B}(?:(\d{{1,3}}) )?(\d)/(\d\d?){_E}(?!/)"), _mixed),
    (re.compile(rf"{_B}(\d++\.\d++)/({N}){_E}(?!/)"), lambda m: f"{number(m[1])} out of {number(m[2])}"),
    (re.compile(rf"{_B}({N})/({N}){_E}(?!/)"), lambda m: f"{number(m[1])} over {number(m[2])}"),
    (re.compile(rf"({N})?\s?([{''.join(FRACTIONS)}])"), _sign_fraction),
    (re.compile(rf"{_B}(1[1-9]\d\d|20\d\d){_E}(?![.,]\d)(?! ?[*×=+/])"), lambda m: _year(m[1])),
    (re.compile(r"(?<!\w)\+?\d{7,}+(?!\w)"), lambda m: _digits(m[0])),
    (re.compile(rf"(?:(?<=[\s(])|^)[-−]({N})"), lambda m: f"minus {number(m[1])}"),
    (re.compile(r"(?<=\d)/(?=[a-z]{3})"), lambda m: " per "),
    (re.compile(r"(?<=\w)(?<!\d) [x×] (?=\d)"), lambda m: " by "),
    (re.compile(r"(?<=\d)x(?=\d)"), lambda m: " by "),
    (re.compile(r"(?<=\d) ?[*·] ?(?=\d)|(?<=\d) x (?=\d)|(?<=\w) \* (?=\w)|(?<=\b\w)\*(?=\w\b)"), lambda m: " times "),
    (re.compile(r"(?<=\d) ?− ?(?=[\d(])|(?<=\d) - (?=\d)"), lambda m: " minus "),
    (re.compile(r"~\s?(?=[\d$€£])"), lambda m: " about "),
    (re.compile(N), lambda m: f" {number(m[0])} "),
    # Words
    (re.compile(r"(?<!\w)([CFJ])#(?!\w)"), lambda m: f"{m[1]} sharp"),
    (re.compile(r"(?<!\w)([CA-Z])\+\+(?!\w)"), lambda m: f"{m[1]} plus plus"),
    (re.compile(r"(?<!\S)\.NET\b"), lambda m: "dot net"),
    (re.compile(r"(?<!\w)w/o(?!\w)"), lambda m: "without"),
    (re.compile(r"(?<!\w)w/(?=\s)"), lambda m: "with"),
    (
        re.compile(rf"(?<=\b)({'|'.join(names.NUMBERED)}) {_ROMAN}\b(?<! )"),
        lambda m: f"{m[1]} {number(str(_roman(m[2])))}",
    ),
    (
        re.compile(
            rf"\b({'|'.join(names.REGNAL)}) {_ROMAN}\b(?<! )(?:(?<! I)|(?=[,;:!?.)’']|$| of\b| and\b))(?!['’]m)"
        ),
        lambda m: f"{m[1]} the {_ordinal(str(_roman(m[2])))}",
    ),
    # A street has its name before it, or its number; a saint and a doctor have theirs behind.
    (re.compile(rf"((?<=\d )(?:{_NAME} ){{1,3}})(St|Dr)\b\.?"), _street),
    (
        re.compile(
            rf"(\b(?!(?:{'|'.join(names.NO_STREETS)})\b)(?:{_NAME}|\d++(?:st|nd|rd|th)) )"
            r"(St|Dr)\b(?:\.(?!\s[A-Z][a-z])|(?!\.|\s[A-Z]))"
        ),
        _street,
    ),
    (re.compile(r"(?<= )(St|Dr)\.(?=\s*(?:$|[,;)]|[a-z]))"), lambda m: {"St": "Street", "Dr": "Doctor"}[m[1]]),
    (re.compile(rf"\bSt\b\.?(?=\s{_NAME})"), lambda m: "Saint"),
    (re.compile(r"\bDr\b\.?(?=\s[A-Z])"), lambda m: "Doctor"),
    (
        re.compile(r"(?<![\w.])(?:" + "|".join(map(re.escape, names.ABBREVIATIONS)) + r")(?!\w)"),
        lambda m: names.ABBREVIATIONS[m[0]],
    ),
    (re.compile(r"(?<![\w.])((?:[A-Z]\.){2,6}+)(s?)(?!\w)"), _spelled),
    (re.compile(rf"(?<![\w.-])({'|'.join(names.SPELLED)})(s?)(?![\w-])"), _spelled),
    (re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), lambda m: " "),
    (re.compile(r"(?<!\w)#(?=[A-Za-z])"), lambda m: "hashtag "),
    (re.compile(r"(?<=\w) ?([<>]=?) ?(?=[\w-])"), lambda m: f" {names.COMPARISONS[m[1]]} "),
    (re.compile("[" + re.escape("".join(names.SYMBOLS)) + "]"), lambda m: f" {names.SYMBOLS[m[0]]} "),
]
