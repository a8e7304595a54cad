"""Signs of units and money, and what English and Chinese call them (CLDR, through Babel)."""

from __future__ import annotations

import functools
import re

from babel.units import format_unit

from tritone.speech.reading.scripts import is_han

# Abbreviation → unit of CLDR.
UNITS = {
    **{"km/h": "speed-kilometer-per-hour", "m/s": "speed-meter-per-second", "mph": "speed-mile-per-hour"},
    **{"km": "length-kilometer", "cm": "length-centimeter", "mm": "length-millimeter", "m": "length-meter"},
    **{"µm": "length-micrometer", "μm": "length-micrometer", "nm": "length-nanometer", "yd": "length-yard"},
    **{"ft": "length-foot", "in": "length-inch", "mi": "length-mile", "kg": "mass-kilogram", "mg": "mass-milligram"},
    **{"g": "mass-gram", "lb": "mass-pound", "lbs": "mass-pound", "oz": "mass-ounce", "ml": "volume-milliliter"},
    **{"mL": "volume-milliliter", "l": "volume-liter", "L": "volume-liter", "°C": "temperature-celsius"},
    **{"℃": "temperature-celsius", "°F": "temperature-fahrenheit", "℉": "temperature-fahrenheit"},
    **{"ms": "duration-millisecond", "s": "duration-second", "sec": "duration-second", "min": "duration-minute"},
    **{"h": "duration-hour", "hr": "duration-hour", "hrs": "duration-hour", "kW": "power-kilowatt", "W": "power-watt"},
    **{"MW": "power-megawatt", "kWh": "energy-kilowatt-hour", "V": "electric-volt", "Hz": "frequency-hertz"},
    **{"kHz": "frequency-kilohertz", "MHz": "frequency-megahertz", "GHz": "frequency-gigahertz"},
    **{"KB": "digital-kilobyte", "kB": "digital-kilobyte", "MB": "digital-megabyte", "GB": "digital-gigabyte"},
    **{"TB": "digital-terabyte", "kcal": "energy-kilocalorie", "ha": "area-hectare"},
    **{"m²": "area-square-meter", "km²": "area-square-kilometer", "cm²": "area-square-centimeter"},
    **{"ft²": "area-square-foot", "m³": "volume-cubic-meter", "cm³": "volume-cubic-centimeter"},
    **{"km³": "volume-cubic-kilometer", "mi²": "area-square-mile"},
}
UNITS |= {sign.replace("²", "^2").replace("³", "^3"): unit for sign, unit in UNITS.items()}
# "in" is a unit only where nothing follows that it could be "in": "5 in the box".
UNIT = "|".join(
    re.escape(sign) + (r"(?=\.?\s*(?:[,;)]|$))" if sign == "in" else "")
    for sign in sorted(UNITS, key=len, reverse=True)
)

CURRENCIES = {"US$": "USD", "$": "USD", "€": "EUR", "£": "GBP", "¥": "CNY", "￥": "CNY", "₹": "INR", "₽": "RUB"}
CHINESE_CURRENCIES = {
    **{"US$": "美元", "$": "美元", "€": "欧元", "£": "英镑", "¥": "元", "￥": "元", "₹": "卢比", "₽": "卢布"},
    **{"USD": "美元", "EUR": "欧元", "GBP": "英镑", "CNY": "元", "RMB": "元", "JPY": "日元"},
}
CURRENCY = "|".join(map(re.escape, CURRENCIES))


@functools.cache
def english_unit(sign: str, one: bool) -> str:
    """ "km" → "kilometers", or "kilometer" for one."""
    named = format_unit(1 if one else 2, UNITS[sign], "long", locale="en")
    return re.sub(r"^[\d\s]+", "", named).replace("°", " degrees ").replace("-", " ").strip()


@functools.cache
def chinese_unit(sign: str) -> tuple[str, str]:
    """What stands before and behind the number: "km" → ("", "公里")."""
    names = [format_unit(2, UNITS[sign], length, locale="zh").replace(" ", "") for length in ("long", "short")]
    before, _, behind = next((name for name in names if any(map(is_han, name))), names[0]).partition("2")
    return before, behind


# What a number must look like. Quantifiers that give nothing back ("++") keep every search linear in the text.
NUMBER = r"(?<![\d])(?:\d{1,3}(?:,\d{3})++(?!,?\d)|\d++)(?:\.\d++(?!\.\d))?"
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
FRACTIONS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8), "⅜": (3, 8)}
# Names that nobody writes with a dot unless it is a place on the web.
_DOMAIN = r"(?<![\w.@-])(?:[A-Za-z0-9-]{1,63}\.){1,4}(?:com|org|net|io|ai|dev|edu|gov|cn|de|fr|uk|eu|jp|app|info)\b"
_WEB = r"(?:[^\s.,;:!?)，。；：！？）、]|[.,;:!?)](?=[^\s.,;:!?)，。；：！？）、]))"
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}+@[\w-]{1,63}+(?:\.[\w-]{1,63}+){1,8}", re.ASCII)
WEB = re.compile(
    rf"https?://{_WEB}++|(?<![\w.@-])www\.{_WEB}++|{_DOMAIN}(?![\w@-])(?:/{_WEB}*+)?", re.ASCII | re.IGNORECASE
)
# Pictures in the text; they are not read.
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f]+")


def domain(address: str) -> str:
    """ "https://www.example.com/a?b=c" → "example.com": what is said of an address."""
    bare = re.sub(r"^(?:https?://)?(?:www\.)?", "", address, flags=re.IGNORECASE)
    return re.split(r"[/?#]", bare.rsplit("@", 1)[-1] if "/" not in bare else bare, maxsplit=1)[0]
