"""Counters and latencies for Prometheus, under TF-Serving's metric names where they exist."""

from __future__ import annotations

import re
from collections.abc import Callable

import prometheus_client

prometheus_client.disable_created_metrics()

PATH = "/monitoring/prometheus/metrics"
# The version that every Prometheus reads.
CONTENT_TYPE = prometheus_client.exposition.CONTENT_TYPE_PLAIN_0_0_4
# TF-Serving's latencies are in microseconds.
_MICROSECONDS = 1e6
_LATENCIES = [10_000 * 2.0**power for power in range(14)]
# The package appends this to each counter; TF-Serving does not.
_SUFFIX = re.compile(rb"^((?:# (?:HELP|TYPE) )?:tensorflow:\S+?)_total\b", re.MULTILINE)


class Metrics:
    """The metrics of one server, and those of its process.

    Args:
      model: its name, a label of every metric of requests.
    """

    def __init__(self, model: str) -> None:
        self._model, self._registry = model, prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)

        counter, histogram = prometheus_client.Counter, prometheus_client.Histogram
        self._requests = self._create(counter, "request_count", "Requests by status.", ("status",))
        text = "Microseconds from the start of a request to its answer."
        self._latency = self._create(histogram, "request_latency", text, ("API", "entrypoint"), buckets=_LATENCIES)
        text = "Microseconds in TensorFlow per batch."
        self._runtime = self._create(histogram, "runtime_latency", text, ("API", "runtime"), buckets=_LATENCIES)
        self._rows = self._create(histogram, "batch_size", "Rows per batch.", buckets=[1, 2, 4, 8, 16, 32])

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

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Adds a gauge whose value is read when the page is asked for."""
        self._create(prometheus_client.Gauge, name, text).labels(self._model).set_function(read)

    def page(self) -> bytes:
        """Returns all metrics in the Prometheus text format."""
        return _SUFFIX.sub(rb"\1", prometheus_client.generate_latest(self._registry))

    def _create(self, kind: type, name: str, text: str, labels: tuple[str, ...] = (), **options: object) -> object:
        return kind(f":tensorflow:serving:{name}", text, ["model_name", *labels], registry=self._registry, **options)
