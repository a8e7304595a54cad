"""What people ask about a picture of shapes, and the true answers, in English ("en") and Chinese ("zh").

Each kind of question is one function: a scene in, a question and its answer out, or None where the scene does not
allow it (two red things: "the red one" means nothing).
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tritone.vision.shapes import CHINESE, COLOURS, POSITIONS, SHAPES, Scene, Thing, article, join

LANGUAGES = ("en", "zh")
NUMBERS = {"en": ("no", "one", "two", "three"), "zh": ("零", "一", "两", "三")}
PLACES = {
    "top left": "in the top left",
    "top": "at the top",
    "top right": "in the top right",
    "left": "on the left",
    "middle": "in the middle",
    "right": "on the right",
    "bottom left": "in the bottom left",
    "bottom": "at the bottom",
    "bottom right": "in the bottom right",
}
# Opposite sides and how to tell: (English, Chinese, true when the first thing's centre is beyond the second's).
SIDES: tuple[tuple[str, str, Callable[[Thing, Thing], float]], ...] = (
    ("to the left of", "左边", lambda a, b: b.x - a.x),
    ("to the right of", "右边", lambda a, b: a.x - b.x),
    ("above", "上面", lambda a, b: b.y - a.y),
    ("below", "下面", lambda a, b: a.y - b.y),
)
CLEAR_OFFSET = 0.15  # fraction of the side below which nobody should be asked which is further left


@dataclass(frozen=True)
class Exchange:
    """One question, its answer, and the kind of question for the score sheet."""

    kind: str
    language: str
    question: str
    answer: str


def name(thing: Thing, colour: bool, shape: bool, language: str) -> str:
    """The words for a thing, without article: "red circle", "red shape", "circle", "shape"."""
    if language == "zh":
        noun = CHINESE[thing.shape or ""] if shape else "图形"
        return f"{CHINESE[thing.colour or '']}的{noun}" if colour else noun
    noun = (thing.shape or "") if shape else "shape"
    return f"{thing.colour} {noun}" if colour else noun


def references(scene: Scene, thing: Thing) -> list[tuple[bool, bool]]:
    """The (says the colour, says the shape) that mean this thing and no other."""
    found = []
    for colour, shape in ((False, False), (False, True), (True, False), (True, True)):
        if (colour and not thing.colour) or (shape and not thing.shape):
            continue
        alike = [
            t
            for t in scene.things
            if (not colour or t.colour == thing.colour) and (not shape or t.shape == thing.shape)
        ]
        if len(alike) == 1:
            found.append((colour, shape))
    return found


def _pick(
    random: Random, scene: Scene, colour: bool | None = None, shape: bool | None = None
) -> tuple[Thing, bool, bool] | None:
    """A thing and a way to name it; `colour`/`shape` False keeps that word out of the name."""
    choices = [
        (thing, says_colour, says_shape)
        for thing in scene.things
        for says_colour, says_shape in references(scene, thing)
        if not (colour is False and says_colour) and not (shape is False and says_shape)
    ]
    return random.choice(choices) if choices else None


def _say(random: Random, kind: str, language: str, questions: tuple[str, ...], answer: str) -> Exchange:
    return Exchange(kind, language, random.choice(questions), answer[0].upper() + answer[1:])


def ask_colour(random: Random, scene: Scene, language: str) -> Exchange | None:
    """What color is the circle? The circle is red."""
    if not (picked := _pick(random, scene, colour=False)) or not picked[0].colour:
        return None
    thing, _, says_shape = picked
    what = name(thing, False, says_shape, language)
    if language == "zh":
        questions = (
            f"{what}是什么颜色？",
            f"{what}是什么颜色的？",
            f"{what}的颜色是什么？",
            f"{what}什么颜色？",
            f"告诉我{what}的颜色。",
        )
        return _say(random, "colour", language, questions, f"{what}是{CHINESE[thing.colour]}的。")
    questions = (
        f"What color is the {what}?",
        f"What color is the {what}?",
        f"What is the color of the {what}?",
        f"What's the color of the {what}?",
        f"Which color is the {what}?",
        f"What color does the {what} have?",
        f"Tell me the color of the {what}.",
        f"Can you tell me what color the {what} is?",
    )
    if not says_shape:
        questions += ("What color is it?", "What color is this?", "Which color do you see?", "What color is that?")
    return _say(random, "colour", language, questions, f"the {what} is {thing.colour}.")


def ask_shape(random: Random, scene: Scene, language: str) -> Exchange | None:
    """What shape is the red one? The red shape is a circle."""
    if not (picked := _pick(random, scene, shape=False)) or not picked[0].shape:
        return None
    thing, says_colour, _ = picked
    what = name(thing, says_colour, False, language)
    if language == "zh":
        questions = (
            f"{what}是什么形状？",
            f"{what}是什么形状的？",
            f"{what}的形状是什么？",
            f"{what}是什么？",
            f"告诉我{what}的形状。",
        )
        if not says_colour:
            questions += ("这是什么形状？", "图形是什么形状？", "你看到什么形状？")
        return _say(random, "shape", language, questions, f"{what}是{CHINESE[thing.shape]}。")
    one = f"{thing.colour} one" if says_colour else what
    questions = (
        f"What shape is the {one}?",
        f"What shape is the {what}?",
        f"Which shape is the {one}?",
        f"What is the {one}?",
        f"What is the {what}?",
        f"What kind of shape is the {one}?",
        f"Can you tell me what shape the {one} is?",
    )
    if says_colour:
        questions += (f"What shape is {thing.colour}?", f"Which shape is {thing.colour}?", f"What is {thing.colour}?")
    else:
        questions += ("What shape is it?", "What shape is this?", "Which shape do you see?", "What shape is that?")
    return _say(random, "shape", language, questions, f"the {what} is {article(thing.shape)} {thing.shape}.")


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
        return _say(random, "count", language, questions, answer)
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
    return _say(random, "count", language, questions, answer)


def ask_position(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Where is the red circle? The red circle is in the top left."""
    if not (picked := _pick(random, scene)):
        return None
    thing, *says = picked
    what = name(thing, *says, language)
    if language == "zh":
        questions = (f"{what}在哪里？", f"{what}在哪儿？", f"{what}在图的什么位置？", f"{what}的位置在哪里？")
        return _say(random, "position", language, questions, f"{what}在{CHINESE[thing.position]}。")
    questions = (
        f"Where is the {what}?",
        f"Where's the {what}?",
        f"Where do you see the {what}?",
        f"Where can I find the {what}?",
        f"What is the position of the {what}?",
        f"In which part of the picture is the {what}?",
    )
    return _say(random, "position", language, questions, f"the {what} is {PLACES[thing.position]}.")


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
        return _say(random, "position", language, questions, answer)
    where = PLACES[place]
    questions = (f"What is {where}?", f"What's {where}?", f"What do you see {where}?", f"Which shape is {where}?")
    what = f"{article(thing.colour)} {name(thing, True, True, language)}" if thing else "nothing"
    return _say(random, "position", language, questions, f"there is {what} {where}.")


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
        return _say(random, "yes/no", language, questions, answer)
    questions = (f"Is the {a} {english} the {b}?", f"Is the {a} {english.replace('to the ', '')} the {b}?")
    answer = f"{'yes' if true else 'no'}, the {a} is {'' if true else 'not '}{english} the {b}."
    return _say(random, "yes/no", language, questions, answer)


def ask_size(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Is the circle big or small? The circle is big."""
    if not (picked := _pick(random, scene)):
        return None
    thing, *says = picked
    what = name(thing, *says, language)
    if language == "zh":
        questions = (
            f"{what}是大的还是小的？",
            f"{what}是大还是小？",
            f"{what}有多大？",
            f"{what}大吗？" if thing.size == "big" else f"{what}大不大？",
        )
        return _say(random, "size", language, questions, f"{what}是{CHINESE[thing.size]}的。")
    questions = (
        f"Is the {what} big or small?",
        f"Is the {what} small or big?",
        f"What size is the {what}?",
        f"How big is the {what}?",
        f"How large is the {what}?",
        f"What is the size of the {what}?",
    )
    return _say(random, "size", language, questions, f"the {what} is {thing.size}.")


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
        return _say(random, "size", language, questions, f"{what}更{word}。")
    word, most = ("bigger", "biggest") if bigger else ("smaller", "smallest")
    questions = (f"Which shape is {word}?", f"Which one is {word}?", f"What is {word}?", f"Which shape is the {most}?")
    return _say(random, "size", language, questions, f"the {what} is {word}.")


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
        return _say(random, "description", language, questions, "，".join(parts) + "。")
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
    return _say(random, "description", language, questions, f"I see {join(parts)}.")


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
        return _say(random, "yes/no", language, questions, f"有，图里有{what}。" if true else f"没有，图里没有{what}。")
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
    return _say(random, "yes/no", language, questions, f"yes, there is {a}." if true else f"no, there is no {what}.")


def ask_truth(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Is the circle red? No, the circle is blue."""
    if not (picked := _pick(random, scene, colour=False)) or not picked[0].colour:
        return None
    thing, _, says_shape = picked
    what = name(thing, False, says_shape, language)
    said = random.choice((thing.colour, random.choice(list(COLOURS))))
    true = said == thing.colour
    if language == "zh":
        questions = (
            f"{what}是{CHINESE[said]}的吗？",
            f"{what}是{CHINESE[said]}吗？",
            f"{what}是不是{CHINESE[said]}的？",
        )
        return _say(
            random, "yes/no", language, questions, f"{'是的' if true else '不是'}，{what}是{CHINESE[thing.colour]}的。"
        )
    questions = (f"Is the {what} {said}?", f"Is the color of the {what} {said}?")
    if not says_shape:
        questions += (f"Is it {said}?", f"Is this {said}?")
    return _say(random, "yes/no", language, questions, f"{'yes' if true else 'no'}, the {what} is {thing.colour}.")


def ask_absent(random: Random, scene: Scene, language: str) -> Exchange | None:
    """What color is the star? I see no star."""
    missing = sorted(set(SHAPES) - {t.shape for t in scene.things})
    if any(not t.shape for t in scene.things):
        return None
    shape = random.choice(missing)
    if language == "zh":
        what = CHINESE[shape]
        questions = (f"{what}是什么颜色？", f"{what}在哪里？", f"{what}是大的还是小的？", f"{what}是什么颜色的？")
        return _say(random, "absent", language, questions, f"我没有看到{what}。")
    questions = (
        f"What color is the {shape}?",
        f"Where is the {shape}?",
        f"Is the {shape} big or small?",
        f"What is the color of the {shape}?",
    )
    return _say(random, "absent", language, questions, f"I see no {shape}.")


QUESTIONS = (
    *(ask_colour, ask_colour, ask_shape, ask_shape, ask_count, ask_position, ask_place, ask_side, ask_size),
    *(ask_bigger, ask_description, ask_description, ask_presence, ask_truth, ask_absent),
)
NO_PICTURE = {
    "en": "I don't see a picture. Please show me one.",
    "zh": "我没有看到图片，请给我一张图片。",
}


def ask(random: Random, scene: Scene, language: str) -> Exchange:
    """Any question that the scene allows."""
    while not (exchange := random.choice(QUESTIONS)(random, scene, language)):
        pass
    return exchange


def ask_without_picture(random: Random, scene: Scene, language: str) -> Exchange:
    """A question about a picture that was not sent."""
    return Exchange("no picture", language, ask(random, scene, language).question, NO_PICTURE[language])
