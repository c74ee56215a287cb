"""The metrics that the server reports."""

import httpx
from in_process import assert_answered
from prometheus_client import parser


def test_metrics_have_the_names_of_tf_serving(server):
    assert_answered(server)
    page = httpx.get(f"http://{server.rest}/monitoring/prometheus/metrics")
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert ':tensorflow:serving:request_count{model_name="fomm",status="OK"}' in page.text
    assert "_total{" not in page.text.replace("process_cpu_seconds_total", "")
    families = {family.name for family in parser.text_string_to_metric_families(page.text)}
    expected = {"request_count", "request_latency", "runtime_latency", "queued_requests", "message_bytes"}
    assert {f":tensorflow:serving:{name}" for name in expected} <= families
    assert "process_resident_memory_bytes" in families
