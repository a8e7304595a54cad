"""Users of the voice assistant and of `transcribe`, over gRPC. A wrong answer counts as a failed request.

Before the users come, the server itself speaks the questions, pictures are drawn, and each question is asked once,
alone: what is true of the picture and was answered alone must be answered under load too. The run ends with exit
code 1 if a threshold is missed; how to run and read it is in README.md.
"""

import io
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import grpc.experimental.gevent
from locust import User, between, events, task
from locust.env import Environment

from tritone.vision import shapes
from tritone_client import Client, Error

# gRPC waits in C, where gevent cannot see it, unless told; without this all users would wait for one.
grpc.experimental.gevent.init_gevent()

LOG = logging.getLogger("tritone.loadtest")
QUESTIONS = 4  # enough that no two users ask the same all the time, few enough to be ready within seconds
ATTEMPTS = 3 * QUESTIONS  # the tiny model may err; more than two errors in three are no basis for a measurement
TIMEOUT_S = 60.0


class WrongAnswer(Exception):
    """The server answered, but not what is true."""


class NotPrepared(Exception):
    """The server cannot be measured."""


@dataclass(frozen=True)
class Question:
    """A spoken question about a picture, and what the server says to it when it has nothing else to do."""

    words: str
    speech: bytes  # WAV
    picture: bytes  # PNG
    answer: str


# ---- before the run


@events.init.add_listener  # and not test_start, when the clock of --run-time is running already
def prepare(environment: Environment, **_: object) -> None:
    """Make the questions; without them there is no run."""
    try:
        environment.questions = make_questions(environment.host or GrpcUser.host, Random(0))
    except (Error, NotPrepared) as error:
        sys.exit(f"no load test: {error}")


def make_questions(host: str, random: Random) -> list[Question]:
    """Questions about the colour of a single shape, which the server answers truly when asked alone.

    Raises: NotPrepared: it errs too often.
    """
    questions: list[Question] = []
    with Client(host, timeout_s=TIMEOUT_S, retries=0) as client:
        client.wait_until_ready()
        for _ in range(ATTEMPTS):
            if question := make_question(client, shapes.draw_scene(random, count=1, allow_held_out=False)):
                questions.append(question)
            if len(questions) == QUESTIONS:
                return questions
    raise NotPrepared(f"only {len(questions)} of {ATTEMPTS} questions were answered truly, {QUESTIONS} are needed")


def make_question(client: Client, scene: shapes.Scene) -> Question | None:
    """A question about the scene; None if the server does not answer it truly."""
    thing, picture = scene.things[0], encode(scene)
    words = f"What color is the {thing.shape}?"
    speech = client.speak(words).wav
    reply = client.converse(speech, picture)
    if spoken(reply.transcript) == spoken(words) and thing.colour in spoken(reply.text):
        return Question(words, speech, picture, reply.text)
    LOG.warning("left out: asked %r, heard %r, answered %r", words, reply.transcript, reply.text)
    return None


def encode(scene: shapes.Scene) -> bytes:
    """The scene as a PNG file."""
    buffer = io.BytesIO()
    shapes.render(scene).save(buffer, "PNG")
    return buffer.getvalue()


def spoken(text: str) -> list[str]:
    """The words without capitals and punctuation, as one hears them."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).replace("colour", "color").split()


# ---- the users


class GrpcUser(User):
    """Somebody with a connection of their own."""

    abstract = True
    host = "localhost:8001"
    wait_time = between(0.5, 1.5)  # people pause

    def on_start(self) -> None:
        """Connect."""
        self.client = Client(self.host, timeout_s=TIMEOUT_S, retries=0)
        self.random = Random()

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Report how long the body took, and whether it failed."""
        failure: Exception | None = None
        start = time.perf_counter()
        try:
            yield
        except (Error, WrongAnswer) as error:
            failure = error
        self.environment.events.request.fire(
            request_type="gRPC",
            name=name,
            response_time=(time.perf_counter() - start) * 1000,  # ms
            response_length=0,
            exception=failure,
            context={},
        )


class AssistantUser(GrpcUser):
    """Talks with the voice assistant about pictures."""

    weight = 2

    @task
    def converse(self) -> None:
        """Ask aloud, listen to the answer."""
        question = self.random.choice(self.environment.questions)
        with self.measured("converse"):
            reply = self.client.converse(question.speech, question.picture)
            if spoken(reply.transcript) != spoken(question.words):
                raise WrongAnswer(f"asked {question.words!r}, heard {reply.transcript!r}")
            if reply.text != question.answer:
                raise WrongAnswer(f"asked {question.words!r}, answered {reply.text!r}, alone {question.answer!r}")
            if not reply.speech.audio.any():
                raise WrongAnswer("the spoken answer is silence")


class TranscribeUser(GrpcUser):
    """Has recordings written down."""

    weight = 1

    @task
    def transcribe(self) -> None:
        """Send a recording, read the text."""
        question = self.random.choice(self.environment.questions)
        with self.measured("transcribe"):
            transcript = self.client.transcribe(question.speech)
            if spoken(transcript.text) != spoken(question.words):
                raise WrongAnswer(f"said {question.words!r}, heard {transcript.text!r}")


# ---- the verdict


@events.init_command_line_parser.add_listener
def add_thresholds(parser: object) -> None:
    """Options of this load test, also as environment variables."""
    group = parser.add_argument_group("thresholds")
    for option, default, what in (
        ("max-failure-ratio", 0.0, "failed requests / all requests"),
        ("max-p95-converse", 5.0, "seconds within which 95%% of the answers must be spoken"),
        ("max-p95-transcribe", 4.0, "seconds within which 95%% of the recordings must be written down"),
    ):
        variable = f"LOADTEST_{option.upper().replace('-', '_')}"
        group.add_argument(f"--{option}", type=float, default=default, env_var=variable, help=what)


@events.quitting.add_listener
def judge(environment: Environment, **_: object) -> None:
    """Say what was missed; exit code 1 if anything was."""
    missed = list(misses(environment))
    for sentence in missed:
        LOG.error("MISSED: %s", sentence)
    if not missed:
        LOG.info("load test passed: %d requests within all thresholds", environment.stats.total.num_requests)
    environment.process_exit_code = 1 if missed else 0


def misses(environment: Environment) -> Iterator[str]:
    """The thresholds that were missed, as sentences. A task that never ran has missed its own."""
    options, total = environment.parsed_options, environment.stats.total
    if total.fail_ratio > options.max_failure_ratio:
        yield f"{total.fail_ratio:.1%} of the requests failed, the limit is {options.max_failure_ratio:.1%}"
    for name in ("converse", "transcribe"):
        entry = environment.stats.get(name, "gRPC")
        limit_s = getattr(options, f"max_p95_{name}")
        p95_s = entry.get_response_time_percentile(0.95) / 1000
        if not entry.num_requests:
            yield f"no {name} was ever answered"
        elif p95_s > limit_s:
            yield f"95% of {name} took up to {p95_s:.2f} s, the limit is {limit_s:g} s"
