"""Random requests: every one is answered or rejected, never with a 500, and the server logs no error.

Bodies follow the API's own description (schemathesis); paths, headers and protobufs are random bytes or changed ones.
"""

import json
import logging
import socket

import grpc
import httpx
import hypothesis
import in_process
import pytest
import schemathesis
import servers
import yaml
from hypothesis import strategies as st

SCHEMA = yaml.safe_load((servers.ROOT / "serving" / "local" / "openapi.yaml").read_text())
# Bodies of `:predict` come from the schema; uploads have tests of their own.
SCHEMA["paths"] = {path: item for path, item in SCHEMA["paths"].items() if path.endswith((":predict", "/metadata"))}
HTTP = httpx.Client()  # a client loads certificates, which takes longer than a request
PREDICT = "/tensorflow.serving.PredictionService/Predict"
METHODS = [PREDICT, "/tensorflow.serving.PredictionService/GetModelMetadata", "/tensorflow.serving.ModelService/Get"]
METHODS += ["/tensorflow.serving.ModelService/HandleReloadConfigRequest", "/grpc.health.v1.Health/Check"]


def assert_answered(response):
    assert response.status_code < 500, response.text[:500]
    if response.status_code != 200:
        assert response.json()["error"]


OPERATIONS = [result.ok() for result in schemathesis.openapi.from_dict(SCHEMA).get_all_operations()]
STRATEGIES = [
    operation.as_strategy(generation_mode=mode)
    for operation in OPERATIONS
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
]


def check_case(server, case):
    case.path_parameters = {**case.path_parameters, "name": "fomm"}
    assert_answered(case.call(base_url=f"http://{server.rest}"))


@pytest.fixture(scope="module")
def server():
    """In this process, with a model of one line."""
    with in_process.serve() as started:
        yield started


@pytest.mark.slow
@hypothesis.settings(max_examples=300, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.one_of(STRATEGIES))
def test_rest_fuzzed_requests_get_no_500(embedded, case):
    check_case(embedded, case)


def exchange(server, request):
    """Sends bytes and the end of the stream; returns the first line of the answer."""
    host, port = server.rest.split(":")
    with socket.create_connection((host, int(port)), timeout=in_process.TIMEOUT) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while b"\r\n" not in answer and (part := connection.recv(2**16)):
            answer += part
    return answer.partition(b"\r\n")[0]


TOKENS = st.sampled_from(
    [b"v1", b"models", b"fomm", b":predict", b"versions", b"labels", b"1", b"..", b"%0a", b"metadata"]
)
PATHS = st.lists(st.one_of(TOKENS, st.binary(max_size=8)), max_size=8).map(lambda parts: b"/" + b"/".join(parts))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Expect", b"Host", b"Content-Type", b"Connection"]),
        st.one_of(
            st.sampled_from([b"chunked", b"100-continue", b"0", b"-1", b"9" * 30, b"upgrade"]), st.binary(max_size=20)
        ),
    ),
    max_size=4,
)


def check_rest_bytes(server, method, path, headers, body):
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    status = exchange(server, b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n%b" % (method, path, lines, body))
    assert not status.startswith(b"HTTP/1.1 500"), status


def check_body(server, body):
    assert_answered(HTTP.post(f"{server.url}:predict", content=body))


def check_protobuf(server, method, data):
    try:
        server.channel.unary_unary(method)(data, timeout=in_process.TIMEOUT)
    except grpc.RpcError as error:
        assert error.code().name not in ("INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"), error.details()


@st.composite
def protobufs(draw, valid):
    """A valid request with some bytes replaced, removed and inserted; or random bytes."""
    data = draw(st.sampled_from([b"", valid]))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(st.binary(max_size=6)) + data[start + draw(st.integers(0, 3)) :]
    return data


REST_BYTES = (st.sampled_from([b"GET", b"POST", b"PUT", b"x"]), PATHS, HEADERS, st.binary(max_size=60))
PROTOBUFS = (st.sampled_from(METHODS), protobufs(servers.message("double", in_process.ONE).SerializeToString()))
KEYS = st.sampled_from(["inputs", "instances", "x", "b64", "signature_name"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda value: st.lists(value, max_size=4) | st.dictionaries(KEYS, value, max_size=4),
)
JSON_BODIES = st.one_of(st.binary(max_size=200), JSON_VALUES.map(lambda value: json.dumps(value).encode()))


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(st.tuples(*REST_BYTES))
def test_rest_random_paths_and_headers_get_no_500(server, request):
    check_rest_bytes(server, *request)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(JSON_BODIES)
def test_rest_random_bodies_get_no_500(server, body):
    check_body(server, body)


@hypothesis.settings(
    max_examples=100, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(st.tuples(*PROTOBUFS))
def test_grpc_random_messages_are_answered(server, caplog, request):
    check_protobuf(server, *request)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
