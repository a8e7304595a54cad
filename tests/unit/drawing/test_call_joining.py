"""Steps of different users in one call: who goes with whom, who waits for how long, who fails."""

import asyncio
import statistics
import types

import pytest
import torch

from tritone.drawing import call_joining
from tritone.drawing.call_joining import JoinedCalls


class Unet:
    """Adds one; remembers the rows of each call and can be told to fail or to take its time."""

    def __init__(self, seconds=0.002, poison=None):
        self.calls, self.seconds, self.poison = [], seconds, poison

    async def __call__(self, inputs):
        latents = inputs["latents"]
        self.calls.append(len(latents))
        await asyncio.sleep(self.seconds)
        if self.poison is not None and (latents == self.poison).any():
            raise ValueError("poisoned")
        return {"noise_pred": latents + 1}


def rows(value, count=2, side=4):
    latents = torch.full((count, 4, side, side), float(value))
    return {"latents": latents, "timestep": torch.zeros(count), "encoder_hidden_states": torch.zeros(count, 7, 8)}


async def image(joined, steps, value=0.0, side=4, count=2):
    """A denoising loop: each step's result is the next one's input."""
    inputs = rows(value, count, side)
    for left in range(steps, 0, -1):
        inputs["latents"] = (await joined(inputs, left))["noise_pred"]
    return inputs["latents"]


def test_a_lone_image_is_one_call_a_step():
    async def run():
        joined = JoinedCalls(unet := Unet(), 32)
        assert (await image(joined, 5) == 5).all()
        return unet.calls

    assert asyncio.run(run()) == [2] * 5


def test_images_that_come_at_different_moments_fall_into_step_and_keep_their_own_values():
    async def run():
        joined = JoinedCalls(unet := Unet(), 32)
        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(image(joined, 20, 100 * number)))
            await asyncio.sleep(0.003)
        for number, latents in enumerate(await asyncio.gather(*tasks)):
            assert (latents == 100 * number + 20).all()
        return unet.calls

    calls = asyncio.run(run())
    assert sum(calls) == 4 * 20 * 2
    assert calls.count(8) >= 12  # all four together for most of the way
    assert len(calls) <= 28


def test_a_newcomer_waits_for_the_call_under_way_and_no_longer():
    async def run():
        joined = JoinedCalls(unet := Unet(0.05), 32)
        others = [asyncio.create_task(image(joined, 10)) for _ in range(3)]
        await asyncio.sleep(0.12)  # in the third call
        await joined(rows(0))
        done = len(unet.calls)
        await asyncio.gather(*others)
        return done, unet.calls

    done, calls = asyncio.run(run())
    assert done <= 4
    assert calls[3] == 8


def test_other_shapes_have_a_lane_of_their_own():
    async def run():
        joined = JoinedCalls(unet := Unet(), 32)
        small, large = await asyncio.gather(image(joined, 6), image(joined, 3, side=8))
        assert small.shape[-1] == 4
        assert large.shape[-1] == 8
        return unet.calls

    assert asyncio.run(run()) == [2] * 9


def test_more_rows_than_a_call_may_have_are_shared_out():
    async def run():
        joined = JoinedCalls(unet := Unet(), 5)
        await asyncio.gather(*(joined(rows(number)) for number in range(4)))
        return sorted(unet.calls)

    assert asyncio.run(run()) == [4, 4]


def test_a_failure_reaches_the_one_at_fault_alone():
    async def run():
        joined = JoinedCalls(Unet(poison=7), 32)
        return await asyncio.gather(*(joined(rows(value)) for value in (1, 7, 3)), return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert (first["noise_pred"] == 2).all()
    assert isinstance(second, ValueError)
    assert (third["noise_pred"] == 4).all()


def test_whoever_is_cancelled_is_in_no_later_call_and_the_others_go_on():
    async def run():
        joined = JoinedCalls(unet := Unet(0.02), 32)
        staying, leaving = (asyncio.create_task(image(joined, 8)) for _ in range(2))
        while len(unet.calls) < 3:
            await asyncio.sleep(0.001)
        leaving.cancel()
        assert (await staying == 8).all()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return unet.calls

    assert asyncio.run(run()) == [4] * 3 + [2] * 5


def test_a_join_that_fails_for_want_of_memory_closes_no_size_for_ever(monkeypatch):
    """Each is then asked for by itself, and those who come later are drawn together again."""

    async def run():
        joined = JoinedCalls(unet := Unet(), 8)
        monkeypatch.setattr(torch, "cat", lambda _: 1 // 0)
        first = await asyncio.wait_for(asyncio.gather(image(joined, 1, 1), image(joined, 1, 2)), 10)
        monkeypatch.undo()
        later = await asyncio.wait_for(asyncio.gather(image(joined, 1, 3), image(joined, 1, 4)), 10)
        assert [float(latents.mean()) for latents in (*first, *later)] == [2, 3, 4, 5]
        return unet.calls

    assert asyncio.run(run()) == [2, 2, 4]


def test_a_lane_that_ends_leaves_nobody_waiting(monkeypatch):
    async def run():
        joined = JoinedCalls(Unet(), 8)
        monkeypatch.setattr(call_joining._Lane, "take", lambda *_: 1 // 0)
        asked = asyncio.gather(image(joined, 1), image(joined, 1), return_exceptions=True)
        assert [type(error) for error in await asyncio.wait_for(asked, 10)] == [RuntimeError, RuntimeError]
        monkeypatch.undo()
        assert (await asyncio.wait_for(image(joined, 1), 10) == 1).all()

    asyncio.run(run())


def test_of_large_pictures_fewer_rows_go_in_a_call_be_they_of_one_request_or_of_many():
    async def run():
        joined = JoinedCalls(unet := Unet(), 8, max_values=4 * 4 * 4 * 4)  # four rows of side 4, one of side 8
        latents = await asyncio.gather(
            *(image(joined, 1, side=side) for side in (4, 4, 4, 8)), image(joined, 1, 5, 4, 6)
        )
        assert (latents[-1] == 6).all()
        assert len(latents[-1]) == 6
        return unet.calls

    assert sorted(asyncio.run(run())) == [1, 1, 2, 2, 4, 4]  # first come, first served


@pytest.fixture
def clock(monkeypatch):
    """A clock that only networks move."""
    clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(call_joining, "time", clock)
    return clock


class Timed(Unet):
    """Takes `own` + `row` seconds a row of side 4 by the clock, and more as its pictures are larger."""

    def __init__(self, clock, own, row):
        super().__init__(0.001)
        self.clock, self.own, self.row, self.sides = clock, own, row, []

    async def __call__(self, inputs):
        count, side = len(inputs["latents"]), inputs["latents"].shape[-1]
        self.sides.append(side)
        outputs = await super().__call__(inputs)
        self.clock.now += self.own + self.row * count * side / 4
        return outputs


def test_a_small_picture_waits_for_one_call_of_large_ones_and_then_has_as_much_of_the_time(clock):
    async def run():
        joined = JoinedCalls(unet := Timed(clock, 0.0, 0.01), 2)
        large = [asyncio.create_task(image(joined, 2, side=64)) for _ in range(4)]  # 0.32 s a call
        while not unet.sides:
            await asyncio.sleep(0)
        await image(joined, 8)  # 0.02 s a call
        before = list(unet.sides)
        await asyncio.gather(*large)
        return before, unet.sides

    before, sides = asyncio.run(run())
    assert before.count(64) == 1
    assert (sides.count(64), sides.count(4)) == (8, 8)


def test_large_pictures_keep_their_share_beside_many_small_ones(clock):
    async def run():
        joined = JoinedCalls(unet := Timed(clock, 0.0, 0.01), 2)
        small = [asyncio.create_task(image(joined, 100)) for _ in range(4)]
        await image(joined, 3, side=64)
        for task in small:
            task.cancel()
        return unet.sides

    sides = asyncio.run(run())
    assert sides.count(64) == 3
    assert sides.count(4) <= 3 * 16 + 1  # as much time as theirs


def test_the_parts_that_wait_of_a_request_whose_caller_leaves_are_not_computed():
    async def run():
        joined = JoinedCalls(unet := Unet(0.05), 1)
        leaving = asyncio.create_task(joined(rows(0, count=8)))
        while len(unet.calls) < 2:
            await asyncio.sleep(0.001)
        leaving.cancel()
        await asyncio.sleep(0.2)
        return unet.calls

    assert asyncio.run(run()) == [1, 1]


def test_a_part_that_fails_fails_its_request_and_the_other_parts_are_not_computed():
    async def run():
        joined = JoinedCalls(unet := Unet(0.01, poison=3), 1)
        inputs = rows(0, count=6)
        inputs["latents"][1] = 3
        with pytest.raises(ValueError, match="poisoned"):
            await joined(inputs)
        await asyncio.sleep(0.05)
        return unet.calls

    assert asyncio.run(run()) == [1, 1]


async def learn(joined):
    await asyncio.gather(image(joined, 20), *(image(joined, 10) for _ in range(2)))


@pytest.mark.parametrize(
    ("own", "row", "rows", "mean"), [(0.0, 0.01, 2, 0.6), (0.03, 0.08, 6, 0.68), (0.02, 0.0, 12, 1.0)]
)
def test_where_joining_wins_little_pictures_are_drawn_to_their_end_and_the_last_is_hardly_later(
    clock, own, row, rows, mean
):
    """Six pictures of twenty steps and two rows; `mean` is when they are ready, as a part of when the last is."""

    async def run():
        joined = JoinedCalls(unet := Timed(clock, own, row), 32)
        await learn(joined)
        unet.calls.clear()
        started, ends = clock.now, []

        async def one(number):
            assert (await image(joined, 20, number) == number + 20).all()
            ends.append(clock.now - started)

        await asyncio.gather(*(asyncio.create_task(one(number)) for number in range(6)))
        return ends, unet.calls

    ends, calls = asyncio.run(run())
    assert statistics.mode(calls) == rows
    assert statistics.mean(ends) / max(ends) == pytest.approx(mean, abs=0.06)
    assert max(ends) < 1.08 * 20 * (own + 12 * row)  # when all would be ready together


def test_nobody_is_passed_for_ever_by_those_who_have_less_to_do(clock):
    """Short pictures come again and again: the long one still gets on."""

    async def run():
        joined = JoinedCalls(Timed(clock, 0.0, 0.01), 32)
        await learn(joined)
        long = asyncio.create_task(image(joined, 30))
        short = 0

        async def crowd():
            nonlocal short
            while not long.done():
                await asyncio.create_task(image(joined, 3))  # a request of its own
                short += 1

        users = [asyncio.create_task(crowd()) for _ in range(3)]
        await asyncio.wait_for(long, 20)
        for user in users:
            user.cancel()
        return short

    # Its thirty steps are passed by those who came in the first thirty calls, and not by more and more of them.
    assert asyncio.run(run()) < 30
