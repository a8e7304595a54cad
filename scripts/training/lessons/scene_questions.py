"""What people ask about a picture as a whole: what it shows and how many, where, what not, and which of two.

Each kind of question is one function: a scene in, a question and its answer out, or None where the scene does not
allow it (a thing without a name cannot be described).
"""

from collections.abc import Callable
from random import Random

from lessons.exchanges import PLACES, Exchange, name, references, say
from tritone.vision.shapes import CHINESE, COLOURS, POSITIONS, SHAPES, Scene, Thing, article, join

NUMBERS = {"en": ("no", "one", "two", "three"), "zh": ("零", "一", "两", "三")}
# Opposite sides and how to tell: (English, Chinese, true when the first thing's centre is beyond the second's).
SIDES: tuple[tuple[str, str, Callable[[Thing, Thing], float]], ...] = (
    ("to the left of", "左边", lambda a, b: b.x - a.x),
    ("to the right of", "右边", lambda a, b: a.x - b.x),
    ("above", "上面", lambda a, b: b.y - a.y),
    ("below", "下面", lambda a, b: a.y - b.y),
)
CLEAR_OFFSET = 0.15  # fraction of the side below which nobody should be asked which is further left


def ask_count(random: Random, scene: Scene, language: str) -> Exchange | None:
    """How many circles are there? There are two circles."""
    colours = [t.colour for t in scene.things if t.colour]
    shapes = [t.shape for t in scene.things if t.shape]
    colour = shape = None
    kind = random.choice(("all", "colour", "shape"))
    if kind == "colour" and colours:
        colour = random.choice([*colours, *colours, *COLOURS])
    if kind == "shape" and shapes:
        shape = random.choice([*shapes, *shapes, *SHAPES])
    if (colour and len(colours) < len(scene.things)) or (shape and len(shapes) < len(scene.things)):
        return None  # a thing without a name may or may not be counted
    number = sum((not colour or t.colour == colour) and (not shape or t.shape == shape) for t in scene.things)
    if language == "zh":
        what = f"{CHINESE[colour]}的图形" if colour else CHINESE[shape] if shape else "图形"
        questions = (
            f"有几个{what}？",
            f"有多少个{what}？",
            f"图里有几个{what}？",
            f"{what}有几个？",
            f"一共有几个{what}？",
        )
        answer = f"有{NUMBERS['zh'][number]}个{what}。" if number else f"没有{what}。"
        return say(random, "count", language, questions, answer)
    what = f"{colour} shape" if colour else shape or "shape"
    many = "crosses" if what == "cross" else f"{what}s"
    questions = (
        f"How many {many} are there?",
        f"How many {many} do you see?",
        f"How many {many} can you see?",
        f"What is the number of {many}?",
        f"Count the {many}.",
        f"Can you count the {many}?",
    )
    if not colour and not shape:
        questions += ("How many things are there?", "How many objects are there?", "How many objects do you see?")
    answer = f"there is one {what}." if number == 1 else f"there are {NUMBERS['en'][number]} {many}."
    return say(random, "count", language, questions, answer)


def ask_place(random: Random, scene: Scene, language: str) -> Exchange | None:
    """What is in the top left? There is a red circle in the top left."""
    if any(not t.colour or not t.shape for t in scene.things):
        return None
    full = random.random() < 0.75
    taken = {t.position: t for t in scene.things}
    place = random.choice(list(taken)) if full else random.choice(POSITIONS)
    thing = taken.get(place)
    if language == "zh":
        where = CHINESE[place]
        questions = (f"{where}有什么？", f"{where}是什么？", f"{where}有什么图形？", f"图的{where}有什么？")
        answer = f"{where}有一个{name(thing, True, True, language)}。" if thing else f"{where}没有图形。"
        return say(random, "position", language, questions, answer)
    where = PLACES[place]
    questions = (f"What is {where}?", f"What's {where}?", f"What do you see {where}?", f"Which shape is {where}?")
    what = f"{article(thing.colour)} {name(thing, True, True, language)}" if thing else "nothing"
    return say(random, "position", language, questions, f"there is {what} {where}.")


def ask_side(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Is the circle above the square? Yes, the circle is above the square."""
    if len(scene.things) < 2:
        return None
    first, second = random.sample(scene.things, 2)
    names = [[says for says in references(scene, thing) if any(says)] for thing in (first, second)]
    english, chinese, offset = random.choice(SIDES)
    if not all(names) or abs(offset(first, second)) < CLEAR_OFFSET:
        return None
    a, b = (name(t, *random.choice(n), language) for t, n in zip((first, second), names, strict=True))
    true = offset(first, second) > 0
    if language == "zh":
        questions = (f"{a}在{b}的{chinese}吗？", f"{a}是不是在{b}的{chinese}？", f"{a}是在{b}{chinese}吗？")
        answer = f"{'是的' if true else '不是'}，{a}{'' if true else '不'}在{b}的{chinese}。"
        return say(random, "yes/no", language, questions, answer)
    questions = (f"Is the {a} {english} the {b}?", f"Is the {a} {english.replace('to the ', '')} the {b}?")
    answer = f"{'yes' if true else 'no'}, the {a} is {'' if true else 'not '}{english} the {b}."
    return say(random, "yes/no", language, questions, answer)


def ask_bigger(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Which shape is bigger? The red circle is bigger."""
    if len(scene.things) != 2 or scene.things[0].size == scene.things[1].size:
        return None
    bigger = random.random() < 0.6
    thing = next(t for t in scene.things if (t.size == "big") == bigger)
    if not thing.colour or not thing.shape:
        return None
    what = name(thing, True, True, language)
    if language == "zh":
        word = "大" if bigger else "小"
        questions = (f"哪个图形更{word}？", f"哪个更{word}？", f"哪一个比较{word}？")
        return say(random, "size", language, questions, f"{what}更{word}。")
    word, most = ("bigger", "biggest") if bigger else ("smaller", "smallest")
    questions = (f"Which shape is {word}?", f"Which one is {word}?", f"What is {word}?", f"Which shape is the {most}?")
    return say(random, "size", language, questions, f"the {what} is {word}.")


def ask_description(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Describe the picture. I see a big red circle in the top left."""
    if any(not t.colour or not t.shape for t in scene.things):
        return None
    if language == "zh":
        questions = (
            "描述一下这张图片。",
            "请描述这张图。",
            "你看到了什么？",
            "图里有什么？",
            "图片里有什么？",
            "这是什么？",
            "这张图是什么？",
            "这张图片里有什么？",
        )
        parts = [f"{CHINESE[t.position]}有一个{CHINESE[t.size]}的{name(t, True, True, language)}" for t in scene.things]
        return say(random, "description", language, questions, "，".join(parts) + "。")
    questions = (
        "Describe the picture.",
        "Describe this image.",
        "What do you see?",
        "What can you see?",
        "What is in the picture?",
        "What's in this picture?",
        "What is in this image?",
        "What does the picture show?",
        "What is this?",
        "Tell me about this picture.",
        "Can you describe the picture?",
        "Describe what you see.",
    )
    parts = [f"a {t.size} {name(t, True, True, language)} {PLACES[t.position]}" for t in scene.things]
    return say(random, "description", language, questions, f"I see {join(parts)}.")


def ask_presence(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Is there a red circle? No, there is no red circle."""
    if any(not t.colour or not t.shape for t in scene.things):
        return None
    thing = random.choice(scene.things)
    colour, shape = random.choice(((True, True), (True, True), (True, False), (False, True)))
    said_colour = random.choice((thing.colour, thing.colour, random.choice(list(COLOURS)))) if colour else None
    said_shape = random.choice((thing.shape, thing.shape, random.choice(SHAPES))) if shape else None
    true = any((not colour or t.colour == said_colour) and (not shape or t.shape == said_shape) for t in scene.things)
    if language == "zh":
        noun = CHINESE[said_shape] if said_shape else "图形"
        what = f"{CHINESE[said_colour]}的{noun}" if said_colour else noun
        questions = (
            f"有{what}吗？",
            f"图里有{what}吗？",
            f"有没有{what}？",
            f"你看到{what}了吗？",
            f"有一个{what}吗？",
        )
        return say(random, "yes/no", language, questions, f"有，图里有{what}。" if true else f"没有，图里没有{what}。")
    what = " ".join(filter(None, (said_colour, said_shape or "shape")))
    a = f"{article(what)} {what}"
    questions = (
        f"Is there {a}?",
        f"Is there {a} in the picture?",
        f"Do you see {a}?",
        f"Can you see {a}?",
        f"Does the picture show {a}?",
        f"Does the picture have {a}?",
    )
    return say(random, "yes/no", language, questions, f"yes, there is {a}." if true else f"no, there is no {what}.")


def ask_absent(random: Random, scene: Scene, language: str) -> Exchange | None:
    """What color is the star? I see no star."""
    missing = sorted(set(SHAPES) - {t.shape for t in scene.things})
    if any(not t.shape for t in scene.things):
        return None
    shape = random.choice(missing)
    if language == "zh":
        what = CHINESE[shape]
        questions = (f"{what}是什么颜色？", f"{what}在哪里？", f"{what}是大的还是小的？", f"{what}是什么颜色的？")
        return say(random, "absent", language, questions, f"我没有看到{what}。")
    questions = (
        f"What color is the {shape}?",
        f"Where is the {shape}?",
        f"Is the {shape} big or small?",
        f"What is the color of the {shape}?",
    )
    return say(random, "absent", language, questions, f"I see no {shape}.")
