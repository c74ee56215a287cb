"""Servers that are killed, overloaded and updated while clients use them."""

import concurrent.futures
import json
import shutil
import signal
import threading
import time
from fractions import Fraction

import drawn_heads
import grpc
import httpx
import numpy as np
import pytest
import servers

from fomm_tf import cli, video

FRAMES = {"frames": np.zeros((1, 128, 128, 3), np.uint8)}
CLIP = {
    "source": FRAMES["frames"],
    "driving": np.zeros((1, 16, 128, 128, 3), np.uint8),
    "use_initial": np.array([False]),
    "initial_value": np.zeros((1, 10, 2), np.float32),
    "initial_jacobian": np.zeros((1, 10, 2, 2), np.float32),
    "relative": np.array([True]),
    "adapt_scale": np.array([False]),
}


# Seconds between two requests of a thread, so that loading a version gets processor time.
_PAUSE = 0.02


class Load:
    """Sends requests in both protocols until the block ends.

    Attributes:
      versions: of the gRPC answers, in order.
      failures: errors.
    """

    def __init__(self, server, threads=2):
        self.versions, self.failures = [], []
        self._server, self._done, self._answered = server, threading.Event(), threading.Condition()
        self._pool = concurrent.futures.ThreadPoolExecutor(2 * threads)
        self._threads = [self._pool.submit(send) for send in (self._send_grpc, self._send_rest) for _ in range(threads)]

    def wait_for_answers(self, count):
        """Waits for `count` more gRPC answers."""
        with self._answered:
            total = len(self.versions) + count
            assert self._answered.wait_for(lambda: len(self.versions) >= total, servers.SECONDS), "no answers"

    def _send_grpc(self):
        while not self._done.wait(_PAUSE):
            try:
                answer = self._server.predictions.Predict(servers.message("detect_uint8", FRAMES), timeout=60)
                with self._answered:
                    self.versions.append(answer.model_spec.version.value)
                    self._answered.notify_all()
            except grpc.RpcError as error:
                self.failures.append(error)

    def _send_rest(self):
        while not self._done.wait(_PAUSE):
            try:
                response = self._server.post("metadata", {"request": ["a"]})
                if response.status_code != 200:
                    self.failures.append(response.text)
            except httpx.HTTPError as error:
                self.failures.append(error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._done.set()
        self._pool.shutdown()
        for thread in self._threads:
            thread.result()


@pytest.mark.slow
def test_versions_are_loaded_and_unloaded_under_load(cold, tmp_path):
    """One after the other: a partial copy of a version, its completion, and its removal."""
    directory = tmp_path / "fomm"
    shutil.copytree(cold / "1", directory / "1")
    with servers.start_embedded(directory) as server, Load(server) as load:
        shutil.copytree(cold / "1", directory / "2", ignore=lambda *_: ["variables"])
        (directory / "2" / "variables").mkdir()
        data = next((cold / "1" / "variables").glob("*.data-*"))
        (directory / "2" / "variables" / data.name).write_bytes(data.read_bytes()[: data.stat().st_size // 2])
        shutil.copy(cold / "1" / "variables" / "variables.index", directory / "2" / "variables")
        servers.wait_for(server, "2", "END")
        status = httpx.get(f"{server.url}/versions/2").json()["model_version_status"][0]["status"]
        assert status["error_code"] != "OK"
        assert status["error_message"]
        servers.wait_for(server, "1", "AVAILABLE")
        load.wait_for_answers(1)
        assert set(load.versions) == {1}

        shutil.copy(data, directory / "2" / "variables")
        servers.wait_for(server, "2", "AVAILABLE")
        servers.wait_for(server, "1", "END")
        count = len(load.versions)
        load.wait_for_answers(10)
        assert set(load.versions[count + 5 :]) == {2}

        shutil.rmtree(directory / "2")
        servers.wait_for(server, "1", "AVAILABLE")
        servers.wait_for(server, "2", "END")
        load.wait_for_answers(5)
    assert not load.failures
    assert load.versions[-1] == 1


@pytest.mark.slow
def test_full_queue_and_sigterm(cold):
    """Requests above the limit get UNAVAILABLE; admitted ones are answered after SIGTERM."""
    limit = 4

    body = json.dumps({"signature_name": "animate_uint8", "inputs": servers.as_json(CLIP)})

    def send(number):
        try:
            if number % 2:
                return server.call("animate_uint8", CLIP)["frames"].shape
            response = httpx.post(f"{server.url}:predict", content=body, timeout=servers.SECONDS)
            return answered if response.status_code == 200 else response.status_code
        except grpc.RpcError as error:
            return error.code()

    answered = (1, 16, 128, 128, 3)
    with (
        servers.start_embedded(cold, "--queue", limit) as server,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        assert set(pool.map(send, range(limit))) == {answered}
        results = list(pool.map(send, range(16)))
        assert results.count(answered) >= limit
        assert set(results) == {answered, 503, grpc.StatusCode.UNAVAILABLE}

        # The gRPC requests are many times longer than it takes to parse the REST request's body.
        long = CLIP | {"driving": np.zeros((1, 32, 128, 128, 3), np.uint8)}
        waiting = [pool.submit(server.call, "animate_uint8", long) for _ in range(limit - 1)]
        parsed = pool.submit(send, 0)
        end = time.monotonic() + servers.SECONDS
        while servers.metric(server, "admitted_requests") < limit:
            assert time.monotonic() < end, "the requests were not admitted together"
        server.process.send_signal(signal.SIGTERM)
        assert [future.result()["frames"].shape for future in waiting] == [(1, 32, 128, 128, 3)] * (limit - 1)
        assert parsed.result() == answered
        assert server.process.wait(60) == 0
        with pytest.raises(grpc.RpcError) as raised:
            server.call("detect_uint8", FRAMES)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
def test_clip_continues_after_its_server_is_killed(cold, tmp_path):
    """In both protocols at once; the result is that of `fomm animate`."""
    drawn_heads.write_inputs(tmp_path, 128, 20)
    argv = ["animate", "--source", str(tmp_path / "source.png"), "--driving", str(tmp_path / "driving"), "--quiet"]
    assert cli.main([*argv, "--run", str(drawn_heads.MODEL), "--out", str(tmp_path / "here")]) == 0
    here = np.int16(list(video.open_video(tmp_path / "here")))

    ports = {"grpc_port": servers.free_port(), "rest_port": servers.free_port()}

    def animate(protocol):
        connection = [
            "--server",
            f"127.0.0.1:{ports[f'{protocol}_port']}",
            "--protocol",
            protocol,
            "--retry-timeout",
            "120",
        ]
        return cli.main(["client", *argv, *connection, "--batch-size", "2", "--out", str(tmp_path / protocol)])

    with concurrent.futures.ThreadPoolExecutor() as pool:
        with servers.start_embedded(cold, **ports) as server:
            clients = [pool.submit(animate, protocol) for protocol in ("grpc", "rest")]
            while servers.metric(server, "request_count") < 6:
                assert not any(client.done() for client in clients)
            server.process.kill()
        assert not any(client.done() for client in clients)
        with servers.start_embedded(cold, **ports) as server:
            assert [client.result(servers.SECONDS) for client in clients] == [0, 0]
            assert 0 < servers.metric(server, "request_count") < 2 * 10 + 2
    for protocol in ("grpc", "rest"):
        there = np.int16(list(video.open_video(tmp_path / protocol)))
        assert there.shape == here.shape
        assert np.abs(there - here).max() <= 1


@pytest.mark.slow
def test_animate_by_http_matches_fomm_animate(embedded, tmp_path):
    drawn_heads.write_inputs(tmp_path, 128, 4)
    source, driving = tmp_path / "source.png", tmp_path / "driving.mp4"
    with video.write_video(driving, Fraction(25)) as writer:
        for frame in video.open_video(tmp_path / "driving"):
            writer.write(frame)
    files = {"source": source.open("rb"), "driving": driving.open("rb")}
    answer = httpx.post(f"{embedded.url}:animate", files=files, data={"mode": "absolute"}, timeout=servers.SECONDS)
    assert answer.status_code == 200, answer.text
    (tmp_path / "there.mp4").write_bytes(answer.content)
    argv = ["animate", "--source", source, "--driving", driving, "--mode", "absolute", "--out", tmp_path / "here.mp4"]
    assert cli.main([*map(str, argv), "--run", str(drawn_heads.MODEL), "--quiet"]) == 0
    here, there = (np.int16(list(video.open_video(tmp_path / name))) for name in ("here.mp4", "there.mp4"))
    assert here.shape == there.shape
    assert np.abs(here - there).mean() < 0.5, "to the codec's rounding"
