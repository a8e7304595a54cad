"""Numbers of a model on the server's metrics page."""

import threading
import time
from collections.abc import Callable

import triton_python_backend_utils as pb_utils

# How often is looked. Each changed value is a message to the server's process: too dear for every token.
PUBLISH_S = 0.25

Measure = Callable[[], dict[str, tuple[str, float]]]


class Publisher:
    """Shows numbers as they are every PUBLISH_S, with the label `model`, on a thread of its own."""

    def __init__(self, model: str, measure: Measure) -> None:
        """
        Args:
            measure: {name: (description, value)}; a name that ends with "_total" is a counter, others are gauges.
        """
        self._measure = measure
        self._families = {
            name: pb_utils.MetricFamily(
                name=name,
                description=description,
                kind=pb_utils.MetricFamily.COUNTER if name.endswith("_total") else pb_utils.MetricFamily.GAUGE,
            )
            for name, (description, _) in measure().items()
        }  # kept: a family must outlive its metrics
        self._metrics = {name: family.Metric(labels={"model": model}) for name, family in self._families.items()}
        # What a process that was killed has left on the page: a total goes on from there, a gauge is put right.
        self._shown = {name: 0.0 if name.endswith("_total") else m.value() for name, m in self._metrics.items()}
        self._thread = threading.Thread(target=self._repeat, name="publish", daemon=True)
        self._thread.start()

    def fault(self) -> str:
        """What is wrong; "" while nothing is."""
        return "" if self._thread.is_alive() else "its thread for metrics has ended"

    def _repeat(self) -> None:
        while True:
            for name, (_, value) in self._measure().items():
                if value != self._shown[name]:
                    self._metrics[name].increment(value - self._shown[name])
                    self._shown[name] = value
            time.sleep(PUBLISH_S)
