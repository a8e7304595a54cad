"""What the gateway counts of itself; the server has its own page."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The numbers of one gateway, on /metrics."""

    def __init__(self) -> None:
        self.registry = to = CollectorRegistry()
        endpoint, direction = ("endpoint",), ("direction",)
        self.requests = Counter(
            "tritone_gateway_requests", "Requests that were answered", ("endpoint", "status"), registry=to
        )
        self.seconds = Histogram(
            "tritone_gateway_request_seconds", "Until an answer was complete", endpoint, registry=to
        )
        self.in_flight = Gauge("tritone_gateway_in_flight", "Requests that are being answered", registry=to)
        self.sessions = Gauge("tritone_gateway_realtime_sessions", "Realtime sessions that are open", registry=to)
        self.open_sessions = 0  # what the gauge shows
        self.left = Counter("tritone_gateway_callers_left", "Callers who left too early", endpoint, registry=to)
        self.tokens = Counter("tritone_gateway_tokens", "Tokens read and written", direction, registry=to)
        self.pictures = Counter("tritone_gateway_pictures", "Pictures shown and drawn", direction, registry=to)
        self.audio_seconds = Counter("tritone_gateway_audio_seconds", "Sound heard and spoken", direction, registry=to)

    def page(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)
