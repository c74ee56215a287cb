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
        self._requests = prometheus_client.Counter(
            ":tensorflow:serving:request_count",
            "Requests by status.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = prometheus_client.Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds from the start of a request to its answer.",
            ["model_name", "API", "entrypoint"],
            buckets=_LATENCIES,
            registry=self._registry,
        )
        self._runtime = prometheus_client.Histogram(
            ":tensorflow:serving:runtime_latency",
            "Microseconds in TensorFlow per batch.",
            ["model_name", "API", "runtime"],
            buckets=_LATENCIES,
            registry=self._registry,
        )
        self._rows = prometheus_client.Histogram(
            ":tensorflow:serving:batch_size",
            "Rows per batch.",
            ["model_name"],
            buckets=[1, 2, 4, 8, 16, 32],
            registry=self._registry,
        )
        self._admitted = prometheus_client.Gauge(
            ":tensorflow:serving:admitted_requests",
            "Requests that are queued or computed.",
            ["model_name"],
            registry=self._registry,
        )

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
