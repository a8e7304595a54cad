"""What people ask about one thing in a picture: its colour, its shape, its place, its size.

Each kind of question is one function: a scene in, a question and its answer out, or None where the scene does not
allow it (two red things: "the red one" means nothing).
"""

from random import Random

from lessons.exchanges import PLACES, Exchange, name, pick, say
from tritone.vision.shapes import CHINESE, COLOURS, Scene, article


def ask_colour(random: Random, scene: Scene, language: str) -> Exchange | None:
    """What color is the circle? The circle is red."""
    if not (picked := pick(random, scene, colour=False)) or not picked[0].colour:
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
        return say(random, "colour", language, questions, f"{what}是{CHINESE[thing.colour]}的。")
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
    return say(random, "colour", language, questions, f"the {what} is {thing.colour}.")


def ask_shape(random: Random, scene: Scene, language: str) -> Exchange | None:
    """What shape is the red one? The red shape is a circle."""
    if not (picked := pick(random, scene, shape=False)) or not picked[0].shape:
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
        return say(random, "shape", language, questions, f"{what}是{CHINESE[thing.shape]}。")
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
    return say(random, "shape", language, questions, f"the {what} is {article(thing.shape)} {thing.shape}.")


def ask_position(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Where is the red circle? The red circle is in the top left."""
    if not (picked := pick(random, scene)):
        return None
    thing, *says = picked
    what = name(thing, *says, language)
    if language == "zh":
        questions = (f"{what}在哪里？", f"{what}在哪儿？", f"{what}在图的什么位置？", f"{what}的位置在哪里？")
        return say(random, "position", language, questions, f"{what}在{CHINESE[thing.position]}。")
    questions = (
        f"Where is the {what}?",
        f"Where's the {what}?",
        f"Where do you see the {what}?",
        f"Where can I find the {what}?",
        f"What is the position of the {what}?",
        f"In which part of the picture is the {what}?",
    )
    return say(random, "position", language, questions, f"the {what} is {PLACES[thing.position]}.")


def ask_size(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Is the circle big or small? The circle is big."""
    if not (picked := pick(random, scene)):
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
        return say(random, "size", language, questions, f"{what}是{CHINESE[thing.size]}的。")
    questions = (
        f"Is the {what} big or small?",
        f"Is the {what} small or big?",
        f"What size is the {what}?",
        f"How big is the {what}?",
        f"How large is the {what}?",
        f"What is the size of the {what}?",
    )
    return say(random, "size", language, questions, f"the {what} is {thing.size}.")


def ask_truth(random: Random, scene: Scene, language: str) -> Exchange | None:
    """Is the circle red? No, the circle is blue."""
    if not (picked := pick(random, scene, colour=False)) or not picked[0].colour:
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
        return say(
            random, "yes/no", language, questions, f"{'是的' if true else '不是'}，{what}是{CHINESE[thing.colour]}的。"
        )
    questions = (f"Is the {what} {said}?", f"Is the color of the {what} {said}?")
    if not says_shape:
        questions += (f"Is it {said}?", f"Is this {said}?")
    return say(random, "yes/no", language, questions, f"{'yes' if true else 'no'}, the {what} is {thing.colour}.")
