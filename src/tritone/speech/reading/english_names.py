"""English abbreviations, signs and names that decide how something is read."""

from __future__ import annotations

import re

MAGNITUDES = {
    **{name: name for name in ("thousand", "million", "billion", "trillion")},
    **{"k": "thousand", "K": "thousand", "M": "million", "m": "million", "bn": "billion", "B": "billion"},
    **{"T": "trillion", "tn": "trillion"},
}
MONEY = {  # one and several of the unit, and of its hundredth
    "USD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euro", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "CNY": ("yuan", "yuan", "fen", "fen"),
    "INR": ("rupee", "rupees", "paisa", "paise"),
    "RUB": ("ruble", "rubles", "kopeck", "kopecks"),
}
ABBREVIATIONS = {
    **{"Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Dr.": "Doctor", "Prof.": "Professor", "St.": "Saint"},
    **{"Jr.": "Junior", "Sr.": "Senior", "vs.": "versus", "vs": "versus", "etc.": "et cetera", "e.g.": "for example"},
    **{"i.e.": "that is", "approx.": "approximately", "Fig.": "Figure", "fig.": "figure", "dept.": "department"},
    **{"Jan.": "January", "Feb.": "February", "Aug.": "August", "Sept.": "September", "Oct.": "October"},
    **{"Nov.": "November", "Dec.": "December", "Inc.": "Incorporated", "Ltd.": "Limited", "Ave.": "Avenue"},
    **{"Rd.": "Road", "Blvd.": "Boulevard", "Hwy.": "Highway", "Apt.": "Apartment", "Mt.": "Mount", "Co.": "Company"},
    **{"Corp.": "Corporation", "Gen.": "General", "Sen.": "Senator", "Gov.": "Governor", "Capt.": "Captain"},
    **{"Lt.": "Lieutenant", "Sgt.": "Sergeant", "Rev.": "Reverend", "Ph.D.": "P H D", "a.m.": "A M", "p.m.": "P M"},
    **{"vol.": "volume", "Vol.": "Volume", "pp.": "pages", "ca.": "circa", "max.": "maximum", "min.": "minimum"},
    **{"cf.": "compare", "Eq.": "Equation", "et al.": "and others", "N.B.": "note well", "&c.": "et cetera"},
}
SYMBOLS = {
    **{"&": "and", "@": "at", "+": "plus", "=": "equals", "≈": "about", "×": "times", "÷": "divided by"},
    **{"°": "degrees", "≤": "is at most", "≥": "is at least", "≠": "is not", "±": "plus or minus", "√": "root of"},
    **{"∞": "infinity", "→": "to", "←": "from", "↔": "to and from", "⇒": "so", "§": "section", "%": "percent"},
    **{"π": "pi", "∑": "sum", "∫": "integral", "∈": "in", "−": "minus", "<": "", ">": "", "¶": "paragraph"},
    **{"\\": "backslash", "/": "slash", "$": "dollars", "€": "euro", "£": "pounds"},
    # Marks that are seen, not said.
    **dict.fromkeys("*_`|~^#{}[]•·●○■□▪◦‣™®©", ""),
}
COMPARISONS = {"<": "is less than", ">": "is greater than", "<=": "is at most", ">=": "is at least"}
# Words that a Roman numeral behind them counts, and names that it numbers.
NUMBERED = (
    *("Chapter", "chapter", "Part", "part", "Section", "section", "Act", "Scene", "Volume", "volume", "Book", "book"),
    *("Article", "World War", "Phase", "phase", "Super Bowl", "Title", "Appendix", "Rocky", "Apollo", "Saturn"),
)
REGNAL = (
    *("Albert", "Alexander", "Alfonso", "Benedict", "Boniface", "Carlos", "Catherine", "Charles", "Christian"),
    *("Clement", "Edward", "Elizabeth", "Felipe", "Ferdinand", "Francis", "Frederick", "George", "Gregory", "Gustav"),
    *("Harald", "Henri", "Henry", "Innocent", "Ivan", "James", "John", "John Paul", "Juan", "Julius", "Leo", "Leopold"),
    *("Louis", "Ludwig", "Mary", "Napoleon", "Nicholas", "Olav", "Otto", "Paul", "Peter", "Philip", "Pius", "Ramesses"),
    *("Richard", "Sixtus", "Thutmose", "Urban", "Victoria", "Wilhelm", "William"),
)
# Capitalised where a sentence starts; no street has these names.
NO_STREETS = (
    *("In", "At", "On", "The", "To", "From", "By", "And", "Of", "For", "Near", "With", "This", "That", "Our", "My"),
    *("Saint", "Mount", "Visit", "See", "Is", "Was", "But", "Then", "When", "Ask", "Dear", "Hello", "Hi", "Thanks"),
)
# Letters that are said one by one; a voice would read some as words ("us", "it").
SPELLED = (
    *("AI", "API", "ATM", "CEO", "CIA", "CPU", "DIY", "DNA", "DVD", "EU", "FAQ", "FBI", "GPU", "GPS", "HTML", "HTTP"),
    *("HTTPS", "ID", "IP", "LED", "LLM", "MRI", "PC", "PDF", "RNA", "TV", "UFO", "UI", "UK", "UN", "URL", "US", "USA"),
    *("USB", "UV", "VIP", "XML", "CSS", "IBM", "BBC", "CNN", "NBA", "NFL", "EU", "TTS", "AC", "DC"),
)


def is_ratio(found: re.Match[str]) -> bool:
    """Whether "1:50" is no time of day: it stands behind "scale", "ratio", "odds" or "score"."""
    before = found.string[max(found.start() - 20, 0) : found.start()]
    return bool(re.search(r"(?i)\b(?:scale|ratio|odds|score|aspect ratio)(?: (?:is|of|was))? $", before))
