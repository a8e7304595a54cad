"""How Chinese is read aloud: patterns of what is written, and what is said instead. Numbers come from cn2an.

Where two rules want the same place, the earlier has it. Digits are those of ASCII: `scripts.ascii_digits` makes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import cn2an

from tritone.speech.reading.measures import (
    CHINESE_CURRENCIES,
    CURRENCY,
    EMAIL,
    EMOJI,
    FRACTIONS,
    NUMBER,
    SUPERSCRIPTS,
    UNIT,
    WEB,
    chinese_unit,
    domain,
)

LONGEST_NUMBER = 16  # digits; cn2an knows no more
SYMBOLS = {
    **{"+": "加", "=": "等于", "≈": "约等于", "×": "乘", "÷": "除以", "&": "和", "≤": "小于等于", "≥": "大于等于"},
    **{"≠": "不等于", "±": "正负", "√": "根号", "∞": "无穷", "→": "到", "°": "度", "℃": "摄氏度", "π": "派", "−": "减"},
    **{"%": "百分之", "@": "艾特", "<": "", ">": "", "/": "", "\\": "", "$": "美元", "€": "欧元", "£": "英镑"},
    **dict.fromkeys("*_`|~^#{}[]•●○■□▪◦™®©", ""),
}
# "2" before them is 两, not 二. 月, 日, 号 and 楼 count no two: 二月.
MEASURES = "个位张条只本件块间支辆种次天年岁座杯家名颗朵倍分秒点周元里米斤层人把双瓶碗句页篇场台部套份根片匹头口"
_MAGNITUDES = {"k": 3, "K": 3, "M": 6, "B": 9}


def number(digits: str) -> str:
    """ "1,000" → "一千", "3.5" → "三点五", "2000" → "两千"."""
    digits = digits.replace(",", "")
    whole, _, fraction = digits.partition(".")
    if len(whole) > LONGEST_NUMBER or (len(whole) > 1 and whole.startswith("0")):
        return _digits(digits)
    spoken = re.sub("^二(?=[千万亿])", "两", str(cn2an.an2cn(whole or "0", "low")))
    return f"{spoken}点{_digits(fraction)}" if fraction else spoken


def _digits(digits: str) -> str:
    return "".join(
        "点" if digit == "." else "零一二三四五六七八九"[int(digit)] for digit in re.findall(r"[\d.]", digits)
    )


def _counted(digits: str) -> str:
    """A number before a unit: two is 两."""
    return "两" if digits == "2" else number(digits)


def _money(found: re.Match[str]) -> str:
    minus, sign, first, last, magnitude, wan = found.groups()
    first, last = (amount and amount.removesuffix(".00") for amount in (first, last))
    amounts = [number(_times(amount, _MAGNITUDES.get(magnitude or "", 0))) for amount in (first, last) if amount]
    return f"{'负' if minus else ''}{'到'.join(amounts)}{wan or ''}{CHINESE_CURRENCIES[sign]}"


def _times(amount: str, zeros: int) -> str:
    """ "1.5" and 6 → "1500000"."""
    whole, _, fraction = amount.replace(",", "").partition(".")
    moved = (whole + fraction.ljust(zeros, "0")[:zeros]).lstrip("0") or "0"
    return moved + (f".{fraction[zeros:]}" if fraction[zeros:] else "") if zeros else amount


def _amount(minus: str, amount: str, before: str, behind: str) -> str:
    return f"{'负' if minus else ''}{before}{amount}{behind}"


def _measure(found: re.Match[str]) -> str:
    minus, first, last, unit = found.groups()
    return _amount(minus, _counted(first) + (f"到{_counted(last)}" if last else ""), *chinese_unit(unit))


def _percent(found: re.Match[str]) -> str:
    minus, first, again, last = found.groups()
    said = [{"100": "百"}.get(amount, number(amount)) for amount in (first, last) if amount]
    return f"{'负' if minus else ''}百分之" + ("到百分之" if again else "到").join(said)


def _date(found: re.Match[str]) -> str:
    year, month, day = found.groups()
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return "，".join(map(_digits, found.groups()))
    return f"{_digits(year)}年{number(str(int(month)))}月{number(str(int(day)))}日"


def _time(found: re.Match[str]) -> str:
    hours, minutes, seconds = found.groups()
    spoken = f"{_counted(str(int(hours)))}点"
    if minutes != "00" or seconds:
        spoken += f"{'零' if minutes[0] == '0' else ''}{number(str(int(minutes)))}分"
    return spoken + (f"{number(str(int(seconds)))}秒" if seconds else "")


def _power(found: re.Match[str]) -> str:
    base, exponent = found[1], (found[2] or found[3]).translate(SUPERSCRIPTS).strip("{}").replace("−", "-")
    spoken = number(base) if base[:1].isdigit() else base
    if exponent in ("2", "3"):
        return f"{spoken}的{'平方' if exponent == '2' else '立方'}"
    named = exponent.lstrip("-+")
    return f"{spoken}的{'负' if exponent[0] == '-' else ''}{number(named) if named.isdigit() else named}次方"


def _range(found: re.Match[str]) -> str:
    first, last, behind = found.groups()
    say = _counted if behind and behind in MEASURES else number
    return f"{say(first)}到{say(last)}"


def _sign_fraction(found: re.Match[str]) -> str:
    count, of = (number(str(part)) for part in FRACTIONS[found[2]])
    return (f"{number(found[1])}又" if found[1] else "") + f"{of}分之{count}"


def _spell_address(address: str) -> str:
    signs = {".": "点", "@": "艾特", "-": "杠", "_": "下划线", "+": "加"}
    return "".join(signs.get(sign, _digits(sign) if sign.isdigit() else sign) for sign in address)


N = NUMBER
_TO = r"\s?(?:[-–—~～至]|--)\s?"
_NOT_ASCII = r"(?<![A-Za-z0-9.])"
_SCORE = r"(?<=[分例以为平负胜])\s?"
_SUPER = "[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,9}"

RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (EMAIL, lambda m: _spell_address(m[0])),
    (WEB, lambda m: _spell_address(domain(m[0]))),
    (EMOJI, lambda m: ""),
    # Numbers that name things
    (re.compile(rf"{_NOT_ASCII}\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?![\w]|\.\d)", re.ASCII), lambda m: _digits(m[0])),
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d\d?)[-/.](\d\d?)(?!\d)"), _date),
    (
        re.compile(rf"{_NOT_ASCII}[vV]?(\d{{1,15}}(?:\.\d{{1,15}}){{2,9}})(?![\d]|\.\d)"),
        lambda m: "点".join(map(number, m[1].split("."))),
    ),
    (
        re.compile(
            r"(?<![\d-])(?:\+\d{1,3}[ -]?)?(?:0\d{2,3}-\d{7,8}|0\d{2,3}-\d{4} \d{4}|\d{3}-\d{3,4}-\d{4}"
            r"|1\d\d \d{4} \d{4})(?![\d-])"
        ),
        lambda m: _digits(m[0]),
    ),
    (re.compile(r"(?<![\d-])\+\d{1,3}(?:[ -]?\d{3,11}){1,4}(?![\d-])"), lambda m: _digits(m[0])),
    (re.compile(r"(?<=[电热验编尾号密邮拨打话线码警])[:： ]?(\d{3,16})(?![\d年.个元])"), lambda m: _digits(m[1])),
    (re.compile(r"(?:\bNo\.|(?<![\w&])#)\s?(\d++)", re.ASCII), lambda m: f"第{number(m[1])}"),
    (re.compile(rf"第\s?({N}){_TO}({N})"), lambda m: f"第{number(m[1])}到{number(m[2])}"),
    (re.compile(r"第\s?(\d++)"), lambda m: f"第{number(m[1])}"),
    # Money
    (
        re.compile(rf"(?<!\w)([-−]?)({CURRENCY})\s?({N})(?:{_TO}({N}))?([kKMB](?![A-Za-z]))?([万亿])?", re.ASCII),
        _money,
    ),
    (
        re.compile(rf"({N})\s?(USD|EUR|GBP|CNY|RMB|JPY|€|£)(?![A-Za-z])"),
        lambda m: number(m[1]) + CHINESE_CURRENCIES[m[2]],
    ),
    # Dates and times
    (re.compile(rf"(?<!\d)(\d{{4}}){_TO}(\d{{4}})(?=\s?[学财]?[年赛])"), lambda m: f"{_digits(m[1])}到{_digits(m[2])}"),
    (re.compile(r"(?<!\d)(\d{4})\s?(?=年)"), lambda m: _digits(m[1])),
    (
        re.compile(rf"{_SCORE}(\d{{1,3}})\s?[-:：–]\s?(\d{{1,3}})(?![\d:：%个元天年月人米])"),
        lambda m: f"{number(m[1])}比{number(m[2])}",
    ),
    (re.compile(r"(?<![\d.:：])([01]?\d|2[0-3])[:：]([0-5]\d)(?:[:：]([0-5]\d))?(?![\d:：])"), _time),
    (re.compile(r"(?<![\d:：])(\d{1,6})[:：](\d{1,6})(?![\d:：])"), lambda m: f"{number(m[1])}比{number(m[2])}"),
    # Amounts
    (re.compile(rf"(?<![\w.])([-−]?)({N})(?:(%)?{_TO}({N}))?\s?%", re.ASCII), _percent),
    (
        re.compile(rf"(?<![A-Za-z.])((?<!\d)[-−])?({N})(?:(?:\s?(?:{UNIT}))?{_TO}({N}))?\s?({UNIT})(?![A-Za-z0-9])"),
        _measure,
    ),
    (
        re.compile(rf"({N}|(?<![A-Za-z])[A-Za-z])(?:(?:\^|\*\*)(\{{?[-−+]?[A-Za-z0-9]{{1,9}}\}}?)|({_SUPER}))"),
        _power,
    ),
    (re.compile(rf"({N})\s?[-−]\s?({N})(?=\s?=)"), lambda m: f"{number(m[1])}减{number(m[2])}"),
    (re.compile(r"(?<![\w.-])\d{1,15}(?:-\d{1,15}){2,9}(?![\w-])", re.ASCII), lambda m: _digits(m[0])),
    (re.compile(rf"({N}){_TO}({N})(?=(.?))"), _range),
    (re.compile(r"(?<![\d/])24/7(?![\d/])"), lambda m: "二十四小时"),
    (re.compile(r"(?<!\d)(\d++)/(\d++)"), lambda m: f"{number(m[2])}分之{number(m[1])}"),
    (re.compile(rf"({N})?([{''.join(FRACTIONS)}])"), _sign_fraction),
    (re.compile(r"\+?\d{7,}+"), lambda m: _digits(m[0])),
    (re.compile(rf"(?<![\w.])2(?=\s?[{MEASURES}](?!月?份))", re.ASCII), lambda m: "两"),
    (re.compile(rf"(?<![\w)）])[-−]({N})", re.ASCII), lambda m: f"负{number(m[1])}"),
    (re.compile(r"(?<=\d)\s?[*xX·]\s?(?=\d)"), lambda m: "乘"),
    (re.compile(r"(?<=\d)\s?−\s?(?=\d)"), lambda m: "减"),
    (re.compile(r"[~～约]\s?(?=\d)"), lambda m: "约"),
    (re.compile(N), lambda m: number(m[0])),
    # Words
    (re.compile(r"(?<![A-Za-z])([CFJ])#(?![A-Za-z])"), lambda m: f"{m[1]} sharp"),
    (re.compile(r"(?<![A-Za-z])([A-Z])\+\+(?![A-Za-z])"), lambda m: f"{m[1]}加加"),
    (re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), lambda m: " "),
    (re.compile(r"(?<=[\w])/(?=[天月年人次秒分个日周])|(?<=\w)/(?=小时)"), lambda m: "每"),
    (re.compile(r"\s?(<=|>=)\s?"), lambda m: {"<=": "小于等于", ">=": "大于等于"}[m[1]]),
    (re.compile(r"(?<=\w)\s?([<>])\s?(?=[\w-])"), lambda m: {"<": "小于", ">": "大于"}[m[1]]),
    (re.compile("[" + re.escape("".join(SYMBOLS)) + "]"), lambda m: SYMBOLS[m[0]]),
]
