"""The steps that every training of a tiny network takes: an optimiser, its rate, a state on disk, numbers printed."""

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


def begin(seed: int) -> None:
    """What every training begins with, before a network is built."""
    torch.set_flush_denormal(True)  # Adam divides by squares of tiny gradients; denormal numbers are very slow
    torch.manual_seed(seed)


def millions(module: nn.Module) -> str:
    """How many parameters it has: "6.34 M"."""
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M"


class Training:
    """Steps of an optimiser and of its learning rate; with a state on disk, an interrupted run goes on where it was.

    Args:
        optimiser: of all parameters that learn; their gradients are clipped to a norm of one.
        schedule: a scheduler without its optimiser and `last_epoch`, as a partial: it may be another, or for another
            number of steps, when a run goes on.
        steps: the step to stop at.
        state: the file of the state, read if it exists; without one nothing is written.
        modules: by name, all whose weights the state holds.
        save_every: so many steps lie between two states; there is one of the last step too.
    """

    def __init__(
        self,
        optimiser: Optimizer,
        schedule: Callable[..., LRScheduler],
        steps: int,
        state: Path | None = None,
        modules: Mapping[str, nn.Module] | None = None,
        save_every: int = 200,
    ) -> None:
        self.optimiser, self.steps, self.state, self.save_every = optimiser, steps, state, save_every
        self.modules = dict(modules or {})
        self.parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        self.step, self.seconds = 0, 0.0
        self._numbers: dict[str, list[float]] = defaultdict(list)
        if state and state.exists():
            self._load(state)
        self.schedule = schedule(optimiser, last_epoch=self.step - 1)

    def run(self) -> Iterator[int]:
        """Yield the number of each step, from 1; whoever takes it computes a loss and calls `learn`."""
        left = range(self.step + 1, self.steps + 1)
        for step in track(left, "training", self.steps, completed=self.step):
            started = time.monotonic()
            self.step = step
            yield step
            self.seconds += time.monotonic() - started
            if self.state and self.every(self.save_every):
                self._save(self.state)

    def every(self, steps: int) -> bool:
        """Whether it is time for what happens after so many steps, and after the last."""
        return self.step % steps == 0 or self.step == self.steps

    def learn(self, loss: torch.Tensor) -> None:
        """One step down the gradient of the loss."""
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.schedule.step()

    def say(self, every: int, **numbers: float) -> None:
        """Note the numbers of this step; every so many steps, and at the last, print what they were on average."""
        for name, number in numbers.items():
            self._numbers[name].append(number)
        if self.every(every):
            means = " ".join(f"{name} {np.mean(noted):.4f}" for name, noted in self._numbers.items())
            print(f"step {self.step} {means} {self.seconds:.0f} s", flush=True)
            self._numbers.clear()

    def _save(self, file: Path) -> None:
        state = {"step": self.step, "seconds": self.seconds, "optimiser": self.optimiser.state_dict()}
        partial_file = file.with_suffix(".partial")
        torch.save(state | {name: module.state_dict() for name, module in self.modules.items()}, partial_file)
        partial_file.replace(file)

    def _load(self, file: Path) -> None:
        state = torch.load(file, weights_only=True)
        self.step, self.seconds = state["step"], state["seconds"]
        self.optimiser.load_state_dict(state["optimiser"])
        for name, module in self.modules.items():
            module.load_state_dict(state[name])


class Average:
    """The running mean of the weights of some modules, by name: quieter than the weights of any one step."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.learning = modules
        self.modules = {name: copy.deepcopy(each).eval().requires_grad_(False) for name, each in modules.items()}

    @property
    def all_modules(self) -> dict[str, nn.Module]:
        """What learns and what follows, for a state on disk."""
        return {**self.learning, **{f"average {name}": module for name, module in self.modules.items()}}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """After step 1, 2, …: a tenth of the first weights stays, in the end 0.998 of the mean."""
        decay = min(0.998, step / (step + 9))
        for name, module in self.learning.items():
            for mean, weight in zip(self.modules[name].parameters(), module.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)


def averaged(modules: Mapping[str, nn.Module], rate: float, steps: int, state: Path) -> tuple[Training, Average]:
    """A training whose averaged weights count; the rate rises for 200 steps and falls as a cosine."""
    average = Average(modules)
    parameters = [parameter for module in modules.values() for parameter in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, 1.0, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    schedule = partial(LambdaLR, lr_lambda=partial(_warm_cosine, rate, steps))  # of the optimiser's own rate, 1
    return Training(optimiser, schedule, steps, state, average.all_modules, save_every=250), average


def _warm_cosine(rate: float, steps: int, done: int) -> float:
    return rate * min(1.0, (done + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done / steps))))
