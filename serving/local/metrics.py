"""Counts and latencies for Prometheus, under TF-Serving's names where it has them."""

from __future__ import annotations

import prometheus_client

prometheus_client.disable_created_metrics()

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
# TF-Serving counts microseconds.
_SECOND = 1e6
_LATENCIES = [10_000 * 2.0**power for power in range(14)]


class Metrics:
    """Of one server.

    Args:
      model: its name, a label of every count.
    """

    def __init__(self, model: str) -> None:
        self._model, self._registry = model, prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            ":tensorflow:serving:request_count",
            "Requests by how they ended.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = prometheus_client.Histogram(
            ":tensorflow:serving:request_latency",
            "Microseconds from a request's start to its answer.",
            ["model_name", "API", "entrypoint"],
            buckets=_LATENCIES,
            registry=self._registry,
        )
        self._runtime = prometheus_client.Histogram(
            ":tensorflow:serving:runtime_latency",
            "Microseconds in TensorFlow, a batch.",
            ["model_name", "API", "runtime"],
            buckets=_LATENCIES,
            registry=self._registry,
        )
        self._rows = prometheus_client.Histogram(
            ":tensorflow:serving:batch_size",
            "Rows of a batch.",
            ["model_name"],
            buckets=[1, 2, 4, 8, 16, 32],
            registry=self._registry,
        )
        self._admitted = prometheus_client.Gauge(
            ":tensorflow:serving:admitted_requests",
            "Requests that are waiting or computed.",
            ["model_name"],
            registry=self._registry,
        )

    def request(self, code: str, entrypoint: str, seconds: float) -> None:
        """A request has ended.

        Args:
          code: gRPC's name of how.
          entrypoint: GRPC or REST.
          seconds: since it began.
        """
        self._requests.labels(self._model, code).inc()
        self._latency.labels(self._model, "Predict", entrypoint).observe(seconds * _SECOND)

    def batch(self, rows: int, seconds: float) -> None:
        """A batch has been computed."""
        self._rows.labels(self._model).observe(rows)
        self._runtime.labels(self._model, "Predict", "TF2").observe(seconds * _SECOND)

    def admitted(self, count: int) -> None:
        """So many requests are in the server."""
        self._admitted.labels(self._model).set(count)

    def page(self) -> bytes:
        """All of it as Prometheus reads it."""
        return prometheus_client.generate_latest(self._registry)
