"""The voices speak what they are asked, the same way every time, and refuse what they cannot speak."""

import numpy as np
import pytest
import torch

from tritone import checkpoints
from tritone.errors import InvalidInput, NotServed
from tritone.speech.reading import clauses
from tritone.speech.speaking import tts
from tritone.speech.speaking.tts import Speaker

MAX_CHARACTERS = 200
JOE = "en_US-joe-medium"


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return Speaker.load([checkpoints.path("tts")], "cpu", MAX_CHARACTERS, ["zh"])


def speak(speaker: Speaker, text: str, **options: object) -> np.ndarray:
    return speaker.speak([speaker.prepare(text, **options)])[0].audio


def test_speech_is_finite_audio_of_a_plausible_length(speaker: Speaker) -> None:
    (speech,) = speaker.speak([speaker.prepare("The circle is red.")])
    assert (speech.sampling_rate, speech.voice) == (22_050, JOE)
    assert speech.audio.dtype == np.float32
    assert 0.7 < len(speech.audio) / speech.sampling_rate < 2.5
    assert 0.05 < np.abs(speech.audio).max() <= 1.0


def test_a_text_sounds_the_same_alone_and_in_a_crowd(speaker: Speaker) -> None:
    torch.manual_seed(1)
    alone = speak(speaker, "The circle is red.")
    torch.manual_seed(2)
    crowd = speaker.speak([speaker.prepare(text) for text in ("Hello.", "你好。", "The circle is red.", "Yes.")])
    assert [speech.voice for speech in crowd] == [JOE, "espeak-ng", JOE, JOE]
    np.testing.assert_array_equal(crowd[2].audio, alone)


def test_speaking_leaves_the_callers_random_numbers_alone(speaker: Speaker) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    speak(speaker, "Hello.")
    assert torch.equal(torch.rand(4), expected)


def test_a_text_is_its_clauses_one_behind_the_other(speaker: Speaker) -> None:
    text = "The circle is red. There are two stars on the left, and a very large blue square is in the middle, I think."
    parts = [speak(speaker, clause) for clause in clauses.split(text, "en")]
    assert len(parts) == 3
    np.testing.assert_array_equal(speak(speaker, text), np.concatenate(parts))


def test_clauses_are_equally_loud_and_do_not_click(speaker: Speaker) -> None:
    for text in ("Yes.", "No, never.", "There are two stars on the left.", "你好。"):
        audio = speak(speaker, text)
        frames = audio[: len(audio) // 220 * 220].reshape(-1, 220)
        power = np.sqrt((frames**2).mean(axis=1))
        assert np.sqrt((power[power > 0.1 * power.max()] ** 2).mean()) == pytest.approx(0.1, rel=0.3), text
        assert abs(audio[0]) < 1e-3  # a seam starts and ends at zero
        assert abs(audio[-1]) < 1e-3
        assert np.abs(audio).max() <= tts.PEAK + 1e-6


def test_words_have_their_times_in_the_sound(speaker: Speaker) -> None:
    text = "Look: the circle is red. It costs $5.20, I think."
    (speech,) = speaker.speak([speaker.prepare(text)])
    assert " ".join(word.text for word in speech.words) == text
    times = [time for word in speech.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= len(speech.audio) / speech.sampling_rate
    lengths = {word.text: word.end - word.start for word in speech.words}
    assert lengths["$5.20,"] > 3 * lengths["the"]  # it is read as five dollars and twenty cents
    pause = slice(*(int(t * speech.sampling_rate) for t in (speech.words[4].end + 0.1, speech.words[5].start - 0.06)))
    assert np.abs(speech.audio[pause]).max() < 0.01  # between two sentences nobody speaks


def test_speed_changes_the_length(speaker: Speaker) -> None:
    slow, normal, fast = (len(speak(speaker, "The circle is red.", speed=speed)) for speed in (0.5, 1.0, 2.0))
    assert slow / normal == pytest.approx(2.0, rel=0.15)
    assert 0.5 <= fast / normal < 0.7  # no phoneme is shorter than a frame


def test_one_callers_speed_is_not_the_next_ones(speaker: Speaker) -> None:
    normal = speak(speaker, "Hello.")
    speeches = speaker.speak([speaker.prepare("Hello.", speed=2.0), speaker.prepare("Hello.")])
    np.testing.assert_array_equal(speeches[1].audio, normal)
    assert len(speeches[0].audio) < len(normal)


@pytest.mark.parametrize("options", [{"language": "en"}, {"language": "en-US"}, {"voice": JOE}])
def test_the_voice_and_its_language_may_be_named(speaker: Speaker, options: dict[str, str]) -> None:
    np.testing.assert_array_equal(speak(speaker, "Hello.", **options), speak(speaker, "Hello."))


def test_a_chinese_text_goes_to_the_voice_that_speaks_chinese(speaker: Speaker) -> None:
    (speech,) = speaker.speak([speaker.prepare("图里有2个红色的圆形，占30%。")])
    assert speech.voice == "espeak-ng"
    assert [word.text for word in speech.words] == ["图里", "有", "2", "个", "红色", "的", "圆形，", "占", "30%。"]
    assert 2 < len(speech.audio) / speech.sampling_rate < 8
    assert speech.words[-1].end - speech.words[-1].start > 0.8  # 百分之三十
    assert 0 < speech.words[0].start < speech.words[-1].end <= len(speech.audio) / speech.sampling_rate


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"text": ""}, "nothing to speak"),
        ({"text": "  \n"}, "nothing to speak"),
        ({"text": "?!… —"}, "nothing to speak"),
        ({"text": "a" * 201}, "201 characters, the limit is 200"),
        ({"text": "你好", "voice": JOE}, rf"'你', which voice '{JOE}' cannot read; .*{JOE} \(en\); espeak-ng \(zh\)"),
        ({"text": "привет"}, r"'п', which no voice can read; voices and their languages: .*espeak-ng \(zh\)"),
        ({"text": "hi", "language": "fr"}, r"language 'fr' is not spoken; voices and their languages: "),
        ({"text": "hi", "language": "zh", "voice": JOE}, rf"language 'zh' is not spoken by voice '{JOE}'"),
        ({"text": "hi", "voice": "anna"}, "voice 'anna' is unknown; voices and their languages: "),
        ({"text": "hi", "speed": 0.2}, r"speed is 0\.2, it must be from 0\.25 to 4"),
        ({"text": "hi", "speed": 4.1}, r"speed is 4\.1"),
        ({"text": "hi", "speed": float("nan")}, "speed is nan"),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_the_reason(
    speaker: Speaker, wish: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        speaker.prepare(**wish)


@pytest.mark.parametrize("speeds", [(0.25, 0.5), (2.0, 4.0)])
def test_beyond_what_a_voice_can_do_its_sound_is_stretched_and_its_words_with_it(speaker: Speaker, speeds) -> None:
    slow, fast = speaker.speak([speaker.prepare(text="The circle is red.", speed=speed) for speed in speeds])
    for before, after in zip(slow.words, fast.words, strict=True):
        assert before.end - before.start == pytest.approx(2 * (after.end - after.start), abs=0.1)
    assert len(slow.audio) == pytest.approx(2 * len(fast.audio), rel=0.15)
    assert fast.words[-1].end <= len(fast.audio) / fast.sampling_rate
    spectra = [np.abs(np.fft.rfft(speech.audio)) for speech in (slow, fast)]
    slow_centre, fast_centre = (np.average(np.linspace(0, 1, len(each)), weights=each**2) for each in spectra)
    assert fast_centre == pytest.approx(slow_centre, rel=0.3)  # as high: sound played faster would be twice


def test_accents_digits_and_greek_letters_are_spoken(speaker: Speaker) -> None:
    for text in ("Déjà vu, naïve café", "5 µm ≈ 0.2 mil", "α and β", "ﬁnd"):
        assert speaker.prepare(text).clauses


def test_an_unknown_kind_of_model_is_refused(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model": "bark"}', encoding="utf-8")
    with pytest.raises(NotServed, match="'bark' voice; served are vits, tacotron2 and xtts"):
        Speaker.load([tmp_path], "cpu", MAX_CHARACTERS)


def test_language_tags_are_reduced_to_their_language() -> None:
    assert [tts.primary(tag) for tag in ("en", "EN-us", "zh_CN", " en ")] == ["en", "en", "zh", "en"]


def test_silence_from_an_engine_stays_silence() -> None:
    audio, skipped = tts.finish(np.zeros(1000, np.float32), 16_000, 0.1)
    assert (len(audio), skipped, np.abs(audio).max()) == (1600, 0.0, 0.0)
