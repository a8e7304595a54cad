"""Numbers of a model on the server's metrics page."""

import threading
import time
from collections.abc import Callable

import triton_python_backend_utils as pb_utils

# How often is looked. Each changed value is a message to the server's process: too dear for every token.
PUBLISH_S = 0.25

Measure = Callable[[], dict[str, tuple[str, float]]]


class Publisher:
    """Shows numbers as they are every PUBLISH_S, on a thread of its own.

    Their labels are `model` and `model_instance`: each process of a model has numbers of its own, whose sum is the
    model's. Shared, a gauge would be what was written last, and nobody could tell what a killed process had left.
    """

    def __init__(self, model: str, instance: str, measure: Measure) -> None:
        """
        Args:
            instance: Triton's name of the process's place, such as "llava_0_1", which its successor has too.
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
        labels = {"model": model, "model_instance": instance}
        self._metrics = {name: family.Metric(labels=labels) for name, family in self._families.items()}
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
