"""Clients that are slow, many or gone, or ask for too much: others are answered, and each gets the right status."""

import concurrent.futures
import contextlib
import threading
import time

import grpc
import httpx
import in_process
import numpy as np
import pytest
import servers
from grpc_health.v1 import health_pb2, health_pb2_grpc
from in_process import HEAD, PREDICT, assert_answered, connect, read_all

from fomm_tf.serving.local import grpc_guard, inputs

X = in_process.ONE


def test_unfinished_bodies_take_no_slot_and_do_not_delay_the_end():
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(in_process.serve(max_requests=2, idle_timeout=in_process.TIMEOUT))
        connections = [stack.enter_context(connect(server)) for _ in range(64)]
        for connection in connections:
            connection.sendall(HEAD + b"{")
        while server.core._bytes < len(connections):
            time.sleep(0.001)
        assert_answered(server)
        server.stop()
        server.thread.join(in_process.TIMEOUT / 2)
        assert not server.thread.is_alive(), "it waits for what does not arrive"
        assert b"503" in read_all(connections[0])


def test_unfinished_header_and_body_time_out():
    with (
        in_process.serve(idle_timeout=0.2) as server,
        connect(server) as header,
        connect(server) as body,
        connect(server) as second,
    ):
        header.sendall(b"POST /v1/models/fomm:predict HTTP/1.1\r\nHost")
        body.sendall(HEAD + b"{")
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while not answer.endswith(b"ok\n"):
            answer += second.recv(2**16)
        second.sendall(b"GET /he")
        for connection in (header, second):
            with contextlib.suppress(ConnectionResetError):
                assert read_all(connection) == b""
        assert body.recv(2**16).startswith(b"HTTP/1.1 408")
        while server.core._bytes:  # released after the answer is sent
            time.sleep(0.001)


def test_rest_refuses_connections_above_the_limit():
    with in_process.serve(max_connections=2) as server, connect(server), connect(server), connect(server) as third:
        answer = read_all(third)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in answer


def test_byte_budget_refuses_what_does_not_fit():
    with (
        in_process.serve(max_request_bytes=80, max_total_bytes=100, idle_timeout=in_process.TIMEOUT) as server,
        connect(server) as connection,
    ):
        connection.sendall(HEAD.replace(b"100", b"80") + b"{" * 70)
        while server.core._bytes < 70:
            time.sleep(0.001)
        answer = httpx.post(f"{server.url}:predict", content=b'{"inputs": [[1, 1]], "signature_name": "double"}')
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        with pytest.raises(grpc.RpcError) as raised:
            server.call("double", X)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert ("grpc-retry-pushback-ms", "1000") in raised.value.trailing_metadata()


def test_grpc_message_that_does_not_arrive_times_out():
    with in_process.serve(idle_timeout=0.2, max_request_bytes=2**20, max_total_bytes=2**22) as server:
        call = server.channel.stream_unary(PREDICT, lambda data: data, lambda data: data)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            released = concurrent.futures.Future()
            stalled = pool.submit(call, (released.result() for _ in range(1)), timeout=in_process.TIMEOUT)
            assert stalled.exception(in_process.TIMEOUT).code() == grpc.StatusCode.DEADLINE_EXCEEDED
            released.set_result(b"")
        assert_answered(server)


def test_grpc_refuses_calls_above_the_limit():
    with in_process.serve(idle_timeout=in_process.TIMEOUT, max_connections=2) as server:
        call = server.channel.stream_unary(PREDICT, lambda data: data, lambda data: data)
        end = threading.Event()
        stalled = [call.future(iter(end.wait, True), timeout=in_process.TIMEOUT) for _ in range(2)]
        while server.core._bytes < 2 * server.core.limits.max_request_bytes:
            time.sleep(0.001)
        with pytest.raises(grpc.RpcError) as raised:
            server.call("double", X)
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for future in stalled:
            future.cancel()
        end.set()
        while server.core._bytes:
            time.sleep(0.001)
        assert_answered(server)


class LargeAnswer(in_process.Model):
    """More than the sockets' buffers hold."""

    def run(self, *_):
        return {"y": np.array([b"x" * 2**25], object)}


def test_client_that_does_not_read_its_answer_is_disconnected():
    body = b'{"signature_name": "double", "inputs": [[1, 1]]}'
    with in_process.serve(LargeAnswer(), timeout=4) as server, connect(server) as connection:
        connection.sendall(HEAD.replace(b"100", str(len(body)).encode()) + body)
        while not servers.metric(server, "request_count"):
            time.sleep(0.01)
        assert servers.metric(server, "request_count", status="OK")
        while server.core._bytes:  # until the answer is given up
            time.sleep(0.01)
        with contextlib.suppress(ConnectionResetError):
            assert not read_all(connection).endswith(b"}")


def test_grpc_answer_counts_in_the_byte_budget_until_it_is_sent():
    size = 2**25
    with in_process.serve(LargeAnswer(), max_total_bytes=2 * size) as server:
        predict = server.channel.unary_stream(PREDICT, lambda request: request.SerializeToString(), len)
        answer = predict(servers.message("double", X))
        while server.core._bytes < size:  # the client does not read
            time.sleep(0.001)
        assert next(answer) > size
        while server.core._bytes:
            time.sleep(0.001)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_answer_above_the_limit_is_refused_before_it_is_computed(protocol):
    class Model(in_process.Model):
        def outputs(self, _):
            return {"y": inputs.Spec("float32", (None, 1000))}

    model = Model()
    with in_process.serve(model, max_request_bytes=2**12, max_total_bytes=2**15) as server:
        assert_answered(server)
        rows = {"x": np.ones((3, 2), np.float32)}
        expected = "double: the answer would have 12,000 bytes; expected at most 8,192; split the request."
        if protocol == "rest":
            answer = server.post("double", rows)
            assert (answer.status_code, answer.json()["error"]) == (400, expected)
        else:
            with pytest.raises(grpc.RpcError) as raised:
                server.call("double", rows)
            assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, expected)
        assert model.runs == 2
        while server.core._bytes:
            time.sleep(0.001)


def test_large_requests_run_in_the_background_and_small_ones_beside_them():
    model, large = in_process.Model(), {"x": np.ones((9, 2), np.float32)}
    with in_process.serve(model, max_requests=4) as server:
        assert_answered(server)
        model.may_end.clear()
        calls = [server.predictions.Predict.future(servers.message("double", large)) for _ in range(3)]
        while server.core._large.queued < 2:
            time.sleep(0.001)
        calls.append(server.predictions.Predict.future(servers.message("double", X)))
        while len(model.backgrounds) < 4:
            time.sleep(0.001)
        model.may_end.set()
        assert all(call.result() for call in calls)
    assert sorted(model.backgrounds[:4]) == [False, False, False, True]


def test_watchers_of_health_are_limited(monkeypatch):
    monkeypatch.setattr(grpc_guard, "_MAX_WATCHERS", 2)
    request = health_pb2.HealthCheckRequest()
    with in_process.serve(token="secret") as server:
        stub = health_pb2_grpc.HealthStub(server.channel)
        watches = [stub.Watch(request) for _ in range(2)]
        assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.SERVING] * 2
        with pytest.raises(grpc.RpcError) as raised:
            next(stub.Watch(request))
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        watches[0].cancel()
        answer = None
        while answer is None:
            with contextlib.suppress(grpc.RpcError):  # until the first one's end has arrived
                answer = next(stub.Watch(request))


def test_watchers_of_unknown_services_are_not_kept(server):
    with pytest.raises(grpc.RpcError) as raised:
        next(health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(service="unknown")))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_watcher_is_disconnected_in_the_end():
    with in_process.serve(timeout=0.1, idle_timeout=0.1) as server:
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.RpcError):
            list(watch)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_computation_ends_when_its_client_is_gone(protocol, monkeypatch):
    model = in_process.Model()
    model.may_end.clear()
    with in_process.serve(model) as server:
        if protocol == "grpc":
            call = server.predictions.Predict.future(servers.message("double", X))
            assert model.started.wait(in_process.TIMEOUT)
            call.cancel()
        else:
            body = b'{"signature_name": "double", "inputs": [[1, 1]]}'
            with connect(server) as connection:
                connection.sendall(HEAD.replace(b"100", str(len(body)).encode()) + body)
                assert model.started.wait(in_process.TIMEOUT)
        while not model.cancellations[0]._is_cancelled:
            time.sleep(0.001)
        model.may_end.set()
        assert_answered(server)
        assert servers.metric(server, "request_count", status="CANCELLED") == 1


def test_full_queue_is_unavailable():
    model = in_process.Model()
    model.may_end.clear()
    with in_process.serve(model, max_requests=1) as server:
        call = server.predictions.Predict.future(servers.message("double", X))
        assert model.started.wait(in_process.TIMEOUT)
        answer = server.post("double", X)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        with pytest.raises(grpc.RpcError) as raised:
            server.call("double", X)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        model.may_end.set()
        assert call.result()
