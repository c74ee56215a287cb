"""Counters and latencies for Prometheus, under TF-Serving's metric names where they exist."""

from __future__ import annotations

import prometheus_client

prometheus_client.disable_created_metrics()

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
# TF-Serving's latencies are in microseconds.
_MICROSECONDS = 1e6
_LATENCIES = [10_000 * 2.0**power for power in range(14)]


class Metrics:
    """The metrics of one server.

    Args:
      model: its name, a label of every metric.
    """

    def __init__(self, model: str) -> None:
        self._model, self._registry = model, prometheus_client.CollectorRegistry()

        def create(kind: type, name: str, text: str, labels: tuple[str, ...] = (), **options: object) -> object:
            return kind(
                f":tensorflow:serving:{name}", text, ["model_name", *labels], registry=self._registry, **options
            )

        counter, histogram = prometheus_client.Counter, prometheus_client.Histogram
        self._requests = create(counter, "request_count", "Requests by status.", ("status",))
        text = "Microseconds from the start of a request to its answer."
        self._latency = create(histogram, "request_latency", text, ("API", "entrypoint"), buckets=_LATENCIES)
        text = "Microseconds in TensorFlow per batch."
        self._runtime = create(histogram, "runtime_latency", text, ("API", "runtime"), buckets=_LATENCIES)
        self._rows = create(histogram, "batch_size", "Rows per batch.", buckets=[1, 2, 4, 8, 16, 32])
        text = "Requests that are queued or computed."
        self._admitted = create(prometheus_client.Gauge, "admitted_requests", text)

    def count_request(self, code: str, entrypoint: str, seconds: float) -> None:
        """Records a finished request.

        Args:
          code: name of its gRPC status code.
          entrypoint: GRPC or REST.
          seconds: its latency.
        """
        self._requests.labels(self._model, code).inc()
        self._latency.labels(self._model, "Predict", entrypoint).observe(seconds * _MICROSECONDS)

    def count_batch(self, rows: int, seconds: float) -> None:
        """Records a computed batch."""
        self._rows.labels(self._model).observe(rows)
        self._runtime.labels(self._model, "Predict", "TF2").observe(seconds * _MICROSECONDS)

    def set_admitted(self, count: int) -> None:
        """Sets the number of requests in the server."""
        self._admitted.labels(self._model).set(count)

    def page(self) -> bytes:
        """Returns all metrics in the Prometheus text format."""
        return prometheus_client.generate_latest(self._registry)
