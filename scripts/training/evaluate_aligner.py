"""Score a wav2vec2 aligner on sentences spoken by the tiny voice, whose word times are known exactly.

    python scripts/training/evaluate_aligner.py --checkpoint checkpoints/tiny/aligner --data .training/speech

Every sentence holds a word that the training never heard. The error of a word is that of its start and of its end.
Each sentence is also aligned with the text of another, which must not match.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from lessons.spoken_speech import Utterance, cached, spoken_by_vits
from tritone.errors import InvalidInput
from tritone.speech.alignment import MATCHING_SCORE, Aligner

EVALUATION_SEED = 900_001


def boundary_errors(aligner: Aligner, utterances: list[Utterance]) -> NDArray[np.float64]:
    """Seconds between each found and true start and end of a word that has letters: (2 n_words,)."""
    errors = []
    for utterance in utterances:
        (alignment,) = aligner.align([aligner.prepare(_audio(utterance), " ".join(utterance.words))])
        found = np.array([(word.start, word.end) for word in alignment.words])
        spelled = [any(map(str.isalpha, word)) for word in utterance.words]
        errors.append(np.abs(found - utterance.times)[spelled].ravel())
    return np.concatenate(errors)


def matching(aligner: Aligner, utterances: list[Utterance], shift: int) -> list[float]:
    """Score of each sentence with the text of the one `shift` places on; 0 is its own."""
    scores = []
    for number, utterance in enumerate(utterances):
        text = " ".join(utterances[(number + shift) % len(utterances)].words)
        try:
            (alignment,) = aligner.align([aligner.prepare(_audio(utterance), text)])
        except InvalidInput:  # more letters than the audio has room for
            continue
        scores.append(alignment.score)
    return scores


def _audio(utterance: Utterance) -> NDArray[np.float32]:
    return utterance.audio.astype(np.float32) / 32768


def main(
    checkpoint: Annotated[Path, typer.Option(help="folder of the aligner")],
    data: Annotated[Path, typer.Option(help="folder where the spoken sentences are kept")],
    count: int = 200,
) -> None:
    """Print the scores."""
    aligner = Aligner.load(checkpoint, "cpu", "float32", 60.0)
    spoken = cached(data / f"evaluation-{count}.npz", spoken_by_vits(EVALUATION_SEED, count, held_out=True))
    errors = 1000 * boundary_errors(aligner, spoken)
    print(f"{count} sentences, {len(errors) // 2} words")
    print(f"word boundaries: median {np.median(errors):.0f} ms, 95 % within {np.percentile(errors, 95):.0f} ms")
    own = matching(aligner, spoken, 0)
    other = [score for shift in (7, 31, 77, 120) for score in matching(aligner, spoken, shift)]
    print(f"score of the own text: median {np.median(own):.2f}, 1 % below {np.percentile(own, 1):.2f}")
    refused, accepted = np.mean(np.array(own) < MATCHING_SCORE), np.mean(np.array(other) >= MATCHING_SCORE)
    print(f"score of another text: median {np.median(other):.2f}, 1 % above {np.percentile(other, 99):.2f}")
    print(f"taken for not said: {refused:.1%} of the own texts; taken for said: {accepted:.1%} of other texts")


if __name__ == "__main__":
    typer.run(main)
