"""A card, or a processor that stands in for one with small networks; times, memory and host waits on it; a report."""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tritone.cuda_graphs import Capture, CudaCapture, Work

GIB = 2**30


@dataclass(frozen=True)
class Card:
    """Where networks compute."""

    device: str
    dtype: torch.dtype
    small: bool  # a dry run: the same code on small networks

    @classmethod
    def first(cls) -> Card:
        """The first GPU, in float16."""
        return cls("cuda:0", torch.float16, small=False)

    @classmethod
    def dry(cls) -> Card:
        """This processor, in float32."""
        return cls("cpu", torch.float32, small=True)

    @property
    def is_gpu(self) -> bool:
        """Whether it is one."""
        return self.device != "cpu"

    def wait(self) -> None:
        """Until the device has done all it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, work: Callable[[int], object], rounds: int = 10, warm_up: int = 3) -> float:
        """Median of `work(i)`, each from an idle device to an idle device."""
        rounds, warm_up = (1, 1) if self.small else (rounds, warm_up)
        times = []
        for number in range(warm_up + rounds):
            self.wait()
            started = time.perf_counter()
            work(number)
            self.wait()
            times.append(1000 * (time.perf_counter() - started))
        return statistics.median(times[warm_up:])

    def memory(self) -> dict[str, float]:
        """GiB that tensors hold, that the allocator keeps, and the most that was held; nothing without a GPU."""
        if not self.is_gpu:
            return {}
        return {
            "allocated GiB": torch.cuda.memory_allocated() / GIB,
            "reserved GiB": torch.cuda.memory_reserved() / GIB,
            "peak GiB": torch.cuda.max_memory_allocated() / GIB,
        }

    def forget(self) -> None:
        """Give back what nobody holds, and count the peak anew."""
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def waits(self, work: Callable[[], object]) -> int:
        """How often the host waits for the device in one call; -1 where that can't be seen."""
        if not self.is_gpu:
            return -1
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in seen)

    def capture(self) -> Capture:
        """What makes CUDA graphs; a processor runs the work again."""

        def again(work: Work) -> Work:
            work()
            return work

        return CudaCapture(self.device) if self.is_gpu else again

    def made(self, kind: Callable[[Any], Any], config: Any) -> Any:
        """A network with random weights in the card's numbers, made on the card itself: the same every time."""
        torch.manual_seed(0)
        torch.set_default_dtype(self.dtype)
        try:
            with torch.device(self.device):
                return kind(config).eval()
        finally:
            torch.set_default_dtype(torch.float32)


@contextmanager
def cudnn_attention(allowed: bool) -> Iterator[None]:
    """Whether attention may take cuDNN's kernels, which are planned anew for every length."""
    torch.backends.cuda.enable_cudnn_sdp(allowed)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)


@dataclass
class Report:
    """Figures by part and name; each is printed as it is known, and the file holds all so far."""

    file: Path
    console: Console
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, part: str, **figures: Any) -> None:
        """Note figures of a part."""
        self.parts.setdefault(part, {}).update(figures)
        for name, value in figures.items():
            shown = f"{value:,.3f}" if isinstance(value, float) else value
            self.console.print(f"{time.monotonic() - self.started:5.0f} s  {part}: {name}: {shown}", soft_wrap=True)
        self._write()

    def must(self, part: str, what: str, holds: bool) -> None:
        """Note whether something that must be so is so."""
        if not holds:
            self.missed.append(f"{part}: {what}")
        self.add(part, **{what: "yes" if holds else "NO"})

    def _write(self) -> None:
        content = {"parts": self.parts, "missed": self.missed}
        self.file.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
