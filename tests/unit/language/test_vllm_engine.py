"""The engine over vLLM's AsyncLLM, which is a fake here: `make vllm` runs the real one."""

import asyncio
from types import SimpleNamespace

import pytest
import torch
from asking_an_engine import ask, idle, read
from fake_vllm import AsyncLLM, RequestOutputKind, output

from tritone.errors import Unavailable
from tritone.language.choosing.logprobs import TokenLogprob
from tritone.language.choosing.sampling import Sampling
from tritone.language.token_stream import Prompt
from tritone.language.vllm.engine import VllmEngine
from tritone.language.vllm.requests import Requests

EOS = 2
PICTURE = 3  # the token
ENDLESS = [(7,)] * 10**5


@pytest.fixture
def make(vllm):
    """An engine over an AsyncLLM, closed after the test."""
    made = []

    def make(*script, slots=2, max_queue=1, adapters=None):
        async def start():
            return AsyncLLM(script=script or ((7,), (8,), (EOS,)))

        made.append(VllmEngine(start, Requests(PICTURE, [EOS], adapters or {}).ask, slots, 100, max_queue))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def prompt(max_tokens=10, pictures=None, ids=(1, 5, 6), adapter="", **sampling):
    return Prompt(torch.tensor(ids), pictures, 0, max_tokens, Sampling(**sampling), adapter)


def joined(pieces):
    return [token for tokens in pieces for token in tokens.ids], pieces[-1].reason


# ---- tokens


def test_an_answer_is_vllms_tokens_and_its_reason(make):
    assert joined(ask(make((7, 8), (9,), (10, EOS)), prompt())[0]) == ([7, 8, 9, 10, EOS], "stop")
    assert joined(ask(make((7,), (8,)), prompt())[0]) == ([7, 8], "length")


def test_answers_in_a_crowd_are_counted_as_by_our_own_engine(make):
    engine = make(slots=2, max_queue=3)
    assert [joined(pieces) for pieces in ask(engine, *[prompt()] * 5)] == [([7, 8, EOS], "stop")] * 5
    assert idle(engine)
    counted = engine.statistics
    assert (counted.finished, counted.cancelled, counted.failed, counted.active, counted.queued) == (5, 0, 0, 0, 0)
    assert (counted.prompt_tokens, counted.tokens, counted.first_tokens) == (15, 15, 5)
    assert counted.batched_tokens / counted.steps > 2  # those of one step are handed over together
    assert counted.first_token_s > 0


def test_an_answer_that_ends_without_a_reason_is_told(make):
    [lost] = ask(make(output([7]), output([8])), prompt())
    assert isinstance(lost, Unavailable)
    [aborted] = ask(make(output([7]), output([], "abort")), prompt())
    assert isinstance(aborted, Unavailable)
    assert "vLLM ended an answer (abort)" in str(aborted)


# ---- leaving, refusing, failing


def test_a_caller_who_leaves_aborts_his_request_at_once(make):
    """Also one who has not had a token yet."""
    engine = make(*ENDLESS, slots=2)
    llm = engine._llm

    async def run():
        with engine.submit(prompt(max_tokens=50)) as answer:
            await anext(aiter(answer))
            llm.gate.clear()
            with engine.submit(prompt()):
                while len(llm.asked) < 2:
                    await asyncio.sleep(0.001)

    asyncio.run(run())
    assert idle(engine)  # and vLLM has not said another token
    assert len(llm.aborted) == 2
    assert engine.statistics.cancelled == 2


def test_callers_who_leave_as_soon_as_they_asked_hold_no_slot(make):
    """Their tasks are cancelled before they begin."""
    engine = make(*ENDLESS, slots=2, max_queue=20)

    async def run():
        for answer in [engine.submit(prompt()) for _ in range(20)]:
            with answer:
                pass

    asyncio.run(run())
    assert idle(engine)
    assert (engine.statistics.cancelled, engine.statistics.failed) == (20, 0)
    assert (engine.statistics.active, engine.statistics.queued) == (0, 0)


def test_an_answer_that_was_enough_is_finished_and_not_cancelled(make):
    engine = make(*ENDLESS)

    async def run():
        with engine.submit(prompt()) as answer:
            await anext(aiter(answer))
            answer.finish()

    asyncio.run(run())
    assert idle(engine)
    assert (engine.statistics.finished, engine.statistics.cancelled) == (1, 0)


def test_a_full_house_queues_and_then_refuses_at_once(make):
    engine = make(slots=2, max_queue=1)
    engine._llm.gate.clear()

    async def run():
        answers = [engine.submit(prompt()) for _ in range(3)]
        while engine.statistics.queued != 1:
            await asyncio.sleep(0.001)
        assert engine.statistics.active == 2
        with pytest.raises(Unavailable, match=r"2 slots are taken and 1 requests wait for one, the limit is 1"):
            engine.submit(prompt())
        engine._loop.call_soon_threadsafe(engine._llm.gate.set)
        return await asyncio.gather(*map(read, answers))

    assert [joined(pieces) for pieces in asyncio.run(run())] == [([7, 8, EOS], "stop")] * 3


def test_a_request_that_vllm_refuses_fails_alone(make):
    engine = make()
    bad, generate = prompt(ids=(1, 10**6)), engine._llm.generate

    def refusing(asked, *args, **options):
        if 10**6 in asked["prompt_token_ids"]:
            raise ValueError("out of vocabulary")
        return generate(asked, *args, **options)

    engine._llm.generate = refusing
    failed, answered = ask(engine, bad, prompt())
    assert isinstance(failed, ValueError)
    assert joined(answered) == ([7, 8, EOS], "stop")
    assert engine.fault() == ""
    assert idle(engine)
    assert engine.statistics.failed == 1


def test_when_vllm_dies_everybody_is_answered_and_the_engine_says_that_it_is_ill(make):
    engine = make((7,), RuntimeError("EngineCore encountered an issue"), slots=2, max_queue=2)
    llm = engine._llm
    llm.gate.clear()

    async def run():
        answers = [engine.submit(prompt()) for _ in range(4)]
        llm.errored = True
        engine._loop.call_soon_threadsafe(llm.gate.set)
        gone = await asyncio.wait_for(asyncio.gather(*map(read, answers), return_exceptions=True), 20)
        with pytest.raises(Unavailable, match="vLLM's engine has died"):
            engine.submit(prompt())
        return gone

    assert engine.fault() == ""
    assert [type(error) for error in asyncio.run(run())] == [Unavailable] * 4
    assert engine.fault() == "vLLM's engine has died"


def test_a_closed_engine_answers_everybody_and_ends_vllm(make):
    engine = make()
    llm = engine._llm
    llm.gate.clear()

    async def run():
        answers = [asyncio.create_task(read(engine.submit(prompt()))) for _ in range(3)]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(engine.close)
        with pytest.raises(Unavailable, match="closed"):
            engine.submit(prompt())
        return await asyncio.gather(*answers, return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [Unavailable] * 3
    assert llm.was_shut_down
    assert engine.fault() == ""
    assert not engine._thread.is_alive()


def test_a_caller_whose_loop_was_closed_holds_no_slot(make):
    engine = make(*ENDLESS)
    engine._llm.gate.clear()

    async def ask_and_vanish():
        engine.submit(prompt(max_tokens=50))

    asyncio.run(ask_and_vanish())
    engine._loop.call_soon_threadsafe(engine._llm.gate.set)
    assert idle(engine)
    assert len(engine._llm.aborted) == 1


# ---- a prompt in vLLM's words


def asked(make, asked_prompt, **options):
    engine = make(**options)
    ask(engine, asked_prompt)
    return engine._llm.asked[0]


def test_greedy_has_no_seed_and_a_callers_options_arrive_whole(make):
    _, params, adapter = asked(make, prompt(max_tokens=9))
    assert (params.temperature, params.seed, params.top_p, params.top_k) == (0.0, None, 1.0, 0)
    assert (params.max_tokens, adapter) == (9, None)
    wished = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.2, "seed": 2**63 - 1}
    _, params, _ = asked(make, prompt(**wished))
    assert {name: getattr(params, name) for name in wished} == wished


def test_our_end_of_text_ends_an_answer_and_our_detokenizer_makes_its_text(make):
    _, params, _ = asked(make, prompt())
    assert (params.ignore_eos, params.stop_token_ids) == (True, [EOS])
    assert (params.detokenize, params.output_kind) == (False, RequestOutputKind.DELTA)


def test_a_prompt_without_pictures_is_its_tokens(make):
    assert asked(make, prompt(ids=(1, 5, 6)))[0] == {"type": "token", "prompt_token_ids": [1, 5, 6]}


def test_pictures_stand_where_their_tokens_are_even_side_by_side_and_are_known_again(make):
    red, blue = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)
    pictures = torch.stack([red, blue, red])
    given, _, _ = asked(make, prompt(pictures=pictures, ids=(1, 3, 3, 3, 3, 9, 3, 3, 8)))
    assert given["prompt_token_ids"] == [1, 3, 3, 3, 3, 9, 3, 3, 8]
    assert [(place.offset, place.length) for place in given["mm_placeholders"]["image"]] == [(1, 2), (3, 2), (6, 2)]
    assert all(map(torch.equal, given["mm_kwargs"]["image"], pictures))
    first, second, third = given["mm_hashes"]["image"]
    assert first == third != second


def test_an_adapter_is_vllms_lora_request_of_that_name(make):
    assert asked(make, prompt(adapter="flowers"), adapters={"flowers": "its request"})[2] == "its request"


def test_a_schema_is_vllms_structured_output(make):
    grammar = SimpleNamespace(schema='{"type": "object"}')
    assert asked(make, prompt(grammar=grammar))[1].structured_outputs.json == '{"type": "object"}'
    assert asked(make, prompt())[1].structured_outputs is None


def test_logprobs_are_vllms_the_likeliest_first(make):
    def found(**ranked):
        return {int(token[1:]): SimpleNamespace(logprob=value, rank=rank) for token, (value, rank) in ranked.items()}

    first = found(t8=(-2.5, 7), t9=(-1.0, 2), t5=(-0.5, 1))  # what was drawn comes first, and need not be among them
    last = found(t2=(-0.1, 1), t7=(float("-inf"), 2))  # a grammar left nothing else
    engine = make(output([8], logprobs=[first]), output([EOS], "stop", [last]))
    [pieces] = ask(engine, prompt(top_logprobs=2))
    assert engine._llm.asked[0][1].logprobs == 2
    assert [logprob for tokens in pieces for logprob in tokens.logprobs] == [
        TokenLogprob(8, -2.5, ((5, -0.5), (9, -1.0))),
        TokenLogprob(EOS, -0.1, ((EOS, -0.1), (7, -9999.0))),
    ]
    engine = make()
    assert [list(tokens.logprobs) for tokens in ask(engine, prompt())[0]] == [[]]
    assert engine._llm.asked[0][1].logprobs is None
