"""The steps of a training: one seed makes one network, and an interruption changes nothing."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from loop import Average, Training, averaged

STEPS = 12


def one_cycle(model, state, steps):
    optimiser = torch.optim.AdamW(model.parameters(), 0.05)
    schedule = partial(OneCycleLR, max_lr=0.05, total_steps=steps, pct_start=0.1)
    return Training(optimiser, schedule, steps, state, {"model": model}, save_every=4), lambda _: None


def with_average(model, state, steps):
    training, average = averaged({"model": model}, 0.05, steps, state)
    training.save_every = 4
    return training, average.follow


def losses_of(make, model, state, stop_at=None, steps=STEPS):
    """Learn that the sum of four numbers is wanted; each step has numbers of its own."""
    training, follow = make(model, state, steps)
    losses = []
    for step in training.run():
        numbers = torch.randn(64, 4, generator=torch.Generator().manual_seed(step))
        loss = nn.functional.mse_loss(model(numbers)[:, 0], numbers.sum(1))
        training.learn(loss)
        follow(step)
        losses.append(loss.item())
        if step == stop_at:
            break
    return losses


@pytest.mark.parametrize("make", [one_cycle, with_average])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(make, tmp_path):
    torch.manual_seed(1)
    whole, halves = nn.Linear(4, 1), nn.Linear(4, 1)
    halves.load_state_dict(whole.state_dict())
    in_one = losses_of(make, whole, tmp_path / "whole.pt")
    losses_of(make, halves, tmp_path / "halves.pt", stop_at=6)  # which is two steps after the last state
    in_two = losses_of(make, nn.Linear(4, 1), tmp_path / "halves.pt")
    assert in_two == in_one[4:]
    kept, gone_on = (torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "halves.pt"))
    assert gone_on["step"] == STEPS
    for name in kept.keys() - {"step", "seconds", "optimiser"}:
        assert all(torch.equal(kept[name][weight], gone_on[name][weight]) for weight in kept[name])


@pytest.mark.parametrize("make", [one_cycle, with_average])
def test_a_training_that_goes_on_for_longer_has_the_rates_of_the_longer_one(make, tmp_path):
    losses_of(make, nn.Linear(4, 1), tmp_path / "short.pt", steps=4)
    longer, _ = make(nn.Linear(4, 1), tmp_path / "short.pt", 40)
    losses_of(make, nn.Linear(4, 1), tmp_path / "long.pt", steps=40, stop_at=5)
    long, _ = make(nn.Linear(4, 1), tmp_path / "long.pt", 40)
    assert long.step == longer.step == 4
    assert long.optimiser.param_groups[0]["lr"] == longer.optimiser.param_groups[0]["lr"]


def test_a_training_without_a_state_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    losses = losses_of(one_cycle, nn.Linear(4, 1), None, steps=30)
    assert losses[-1] < losses[0] / 2
    assert not list(tmp_path.iterdir())


def test_numbers_are_printed_as_their_means_since_the_last_time(capsys):
    training, _ = one_cycle(nn.Linear(4, 1), None, 5)
    for step in training.run():
        training.say(2, loss=step, colour=0.5)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert lines == [
        "step 2 loss 1.5000 colour 0.5000 0 s",
        "step 4 loss 3.5000 colour 0.5000 0 s",
        "step 5 loss 5.0000 colour 0.5000 0 s",
    ]


def test_the_average_lies_behind_what_it_follows_and_does_not_learn():
    model = nn.Linear(1, 1, bias=False)
    average = Average({"model": model})
    first = average.modules["model"].weight.item()
    with torch.no_grad():
        model.weight.fill_(first + 1)
    average.follow(1)
    assert average.modules["model"].weight.item() == pytest.approx(first + 0.9)
    average.follow(10_000)
    assert average.modules["model"].weight.item() == pytest.approx(first + 0.9 + 0.1 * 0.002)
    assert not average.modules["model"].weight.requires_grad
    assert set(average.all_modules) == {"model", "average model"}
