"""What people type to have a picture of coloured shapes drawn, in English and Chinese.

Some wordings are kept from training altogether (`NEW_WORDINGS`), so that a network can be asked in words that it has
never met. Style words change nothing in the shapes world: a network that learns it must not be led astray by them.
"""

from random import Random

from tritone.drawing.prompts import read_styles
from tritone.vision.shapes import CHINESE, Thing, article, join

LANGUAGES = ("en", "zh")
WORDINGS = {
    "en": (
        *("{a}", "{a}", "{a}", "{bare}", "{bare}", "one {bare}", "the {bare}", "{a} on a plain background"),
        *("a picture of {a}", "an image of {a}", "a photo of {a}", "a drawing of {a}", "a painting of {a}"),
        *("draw {a}", "show me {a}", "there is {a}", "{a} in the middle", "a large {bare}"),
    ),
    "zh": (
        *("{a}", "{a}", "{a}", "{bare}", "{short}", "{short}", "一张{a}的图片", "一幅{a}的画", "{a}的照片"),
        *("画{a}", "图中有{a}", "有{a}", "纯色背景上的{a}", "一个大的{bare}", "中间是{a}"),
    ),
}
NEW_WORDINGS = {
    "en": ("please make {a} for me", "I would like to see {a}", "an icon with {a}", "just {a}, nothing else"),
    "zh": ("请帮我生成{a}", "我想看到{a}", "{short}图标", "只要{a}，不要别的"),
}
COMMON = "一二三上下中大小人你我他好的了在是有和不这那看来去天地日月山水火木金土花鸟鱼虫风雨雪云书画图片美丽新旧高低"


def name_things(things: tuple[Thing, ...], language: str) -> dict[str, str]:
    """The things as the wordings want them: {a}, {bare}, {short}; a colour or shape without a name is left out."""
    if language == "zh":
        pairs = [(CHINESE.get(t.colour or "", ""), CHINESE.get(t.shape or "", "东西")) for t in things]
        bare = [f"{colour}的{shape}" if colour else shape for colour, shape in pairs]
        short = [f"{colour}{shape}" for colour, shape in pairs]
        return {"a": "和".join(f"一个{name}" for name in bare), "bare": "和".join(bare), "short": "和".join(short)}
    names = [" ".join(filter(None, (t.colour, t.shape or "thing"))) for t in things]
    return {"a": join([f"{article(name)} {name}" for name in names]), "bare": join(names)}


def describe(random: Random, things: tuple[Thing, ...], language: str, new: bool = False) -> str:
    """A prompt for these things; `new` takes a wording that training never uses."""
    wording = random.choice((NEW_WORDINGS if new else WORDINGS)[language])
    return wording.format(**name_things(things, language))


def embellish(random: Random, prompt: str) -> str:
    """The prompt as it is, or with style words, or with words that mean nothing here, before or after it."""
    kind = random.random()
    if kind < 0.55:
        return prompt
    if kind < 0.85:
        styles = read_styles()
        style = random.choice(list(styles.styles.values()))
        words = [*style.words, *styles.quality, *style.names[:1]]
        chosen = list(style.words) if kind < 0.65 else random.sample(words, random.randint(1, len(words)))
        return ", ".join([prompt, *chosen] if kind < 0.8 else [*chosen, prompt])
    noise = " ".join(_noise_word(random) for _ in range(random.randint(1, 4)))
    return f"{prompt} {noise}" if random.random() < 0.5 else f"{noise} {prompt}"


def without_prompt(random: Random) -> str:
    """What stands in a negative prompt when nothing in particular is unwanted."""
    if random.random() < 0.6:
        return ""
    styles = read_styles()
    words = [*styles.negative, *random.choice(list(styles.styles.values())).negative]
    return ", ".join(random.sample(words, random.randint(1, len(words))))


def _noise_word(random: Random) -> str:
    if random.random() < 0.3:
        return "".join(random.choice(COMMON) for _ in range(random.randint(1, 4)))
    return "".join(random.choice("etaoinshrdlucmfwypvbgkjqxz") for _ in range(random.randint(2, 8)))


def every_text() -> list[str]:
    """Sentences to train a tokenizer on."""
    random, styles = Random(0), read_styles()
    words = [word for style in styles.styles.values() for word in (*style.words, *style.negative, *style.names)]
    fixed = [*words, *styles.quality, *styles.negative, *COMMON]
    wordings = [wording for language in LANGUAGES for wording in WORDINGS[language]]
    return [*fixed, *CHINESE, *CHINESE.values(), "东西", "thing", *wordings, *(_noise_word(random) for _ in range(300))]
