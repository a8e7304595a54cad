"""Steps of different users in one call: who goes with whom, who waits for how long, who fails."""

import asyncio

import pytest
import torch

from tritone.drawing.step_joining import JoinedSteps


class Unet:
    """Adds one; remembers the rows of each call and can be told to fail or to take its time."""

    def __init__(self, seconds=0.002, poison=None):
        self.calls, self.seconds, self.poison = [], seconds, poison

    async def __call__(self, latents, timestep, states):
        self.calls.append(len(latents))
        await asyncio.sleep(self.seconds)
        if self.poison is not None and (latents == self.poison).any():
            raise ValueError("poisoned")
        return latents + 1


def rows(value, count=2, side=4):
    return torch.full((count, 4, side, side), float(value)), torch.zeros(count), torch.zeros(count, 7, 8)


async def image(joined, steps, value=0.0, side=4):
    """A denoising loop: each step's result is the next one's input."""
    latents, timestep, states = rows(value, side=side)
    for _ in range(steps):
        latents = await joined(latents, timestep, states)
    return latents


def test_a_lone_image_is_one_call_a_step():
    async def run():
        joined = JoinedSteps(unet := Unet(), 32)
        assert (await image(joined, 5) == 5).all()
        return unet.calls

    assert asyncio.run(run()) == [2] * 5


def test_images_that_come_at_different_moments_fall_into_step_and_keep_their_own_values():
    async def run():
        joined = JoinedSteps(unet := Unet(), 32)
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
        joined = JoinedSteps(unet := Unet(0.05), 32)
        others = [asyncio.create_task(image(joined, 10)) for _ in range(3)]
        await asyncio.sleep(0.12)  # in the third call
        await joined(*rows(0))
        done = len(unet.calls)
        await asyncio.gather(*others)
        return done, unet.calls

    done, calls = asyncio.run(run())
    assert done <= 4
    assert calls[3] == 8


def test_other_shapes_have_a_lane_of_their_own():
    async def run():
        joined = JoinedSteps(unet := Unet(), 32)
        small, large = await asyncio.gather(image(joined, 6), image(joined, 3, side=8))
        assert small.shape[-1] == 4
        assert large.shape[-1] == 8
        return unet.calls

    assert asyncio.run(run()) == [2] * 9


def test_more_rows_than_a_call_may_have_are_shared_out():
    async def run():
        joined = JoinedSteps(unet := Unet(), 5)
        await asyncio.gather(*(joined(*rows(number)) for number in range(4)))
        return sorted(unet.calls)

    assert asyncio.run(run()) == [4, 4]


def test_a_failure_reaches_the_one_at_fault_alone():
    async def run():
        joined = JoinedSteps(Unet(poison=7), 32)
        return await asyncio.gather(*(joined(*rows(value)) for value in (1, 7, 3)), return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert (first == 2).all()
    assert isinstance(second, ValueError)
    assert (third == 4).all()


def test_whoever_is_cancelled_is_in_no_later_call_and_the_others_go_on():
    async def run():
        joined = JoinedSteps(unet := Unet(0.02), 32)
        staying, leaving = (asyncio.create_task(image(joined, 8)) for _ in range(2))
        await asyncio.sleep(0.05)  # in the third call
        leaving.cancel()
        assert (await staying == 8).all()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return unet.calls

    assert asyncio.run(run()) == [4] * 3 + [2] * 5


def test_a_join_that_fails_for_want_of_memory_closes_no_size_for_ever(monkeypatch):
    """Each is then asked for by itself, and those who come later are drawn together again."""

    async def run():
        joined = JoinedSteps(unet := Unet(), 8)
        monkeypatch.setattr(torch, "cat", lambda _: 1 // 0)
        first = await asyncio.wait_for(asyncio.gather(image(joined, 1, 1), image(joined, 1, 2)), 10)
        monkeypatch.undo()
        later = await asyncio.wait_for(asyncio.gather(image(joined, 1, 3), image(joined, 1, 4)), 10)
        assert [float(latents.mean()) for latents in (*first, *later)] == [2, 3, 4, 5]
        return unet.calls

    assert asyncio.run(run()) == [2, 2, 4]


def test_a_lane_that_ends_leaves_nobody_waiting(monkeypatch):
    async def run():
        joined = JoinedSteps(Unet(), 8)
        monkeypatch.setattr(joined, "_groups", lambda _: 1 // 0)
        asked = asyncio.gather(image(joined, 1), image(joined, 1), return_exceptions=True)
        assert [type(error) for error in await asyncio.wait_for(asked, 10)] == [RuntimeError, RuntimeError]
        monkeypatch.undo()
        assert (await asyncio.wait_for(image(joined, 1), 10) == 1).all()

    asyncio.run(run())


def test_of_large_pictures_fewer_go_in_a_call():
    async def run():
        joined = JoinedSteps(unet := Unet(), 8, max_values=4 * 4 * 4 * 4)  # four rows of side 4, one of side 8
        await asyncio.gather(*(image(joined, 1, side=side) for side in (4, 4, 4, 8, 8)))
        return unet.calls

    assert sorted(asyncio.run(run())) == [2, 2, 2, 4]  # an image's own two rows stay together
