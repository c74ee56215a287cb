"""Servers that are stopped, filled and given new versions while clients ask them."""

import concurrent.futures
import json
import shutil
import signal
import threading
import time

import grpc
import httpx
import numpy as np
import pytest
import servers

from fomm_tf import cli, demo, video
from serving import __main__ as command

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


# Seconds between two requests of a thread, so that the processor is left to the loading of versions.
_PAUSE = 0.02


class Load:
    """Asks by both protocols until the block ends.

    Attributes:
      versions: those that answered by gRPC, in order.
      failures: what was not answered.
    """

    def __init__(self, server, threads=2):
        self.versions, self.failures = [], []
        self._server, self._done, self._answered = server, threading.Event(), threading.Condition()
        self._pool = concurrent.futures.ThreadPoolExecutor(2 * threads)
        self._threads = [self._pool.submit(ask) for ask in (self._by_grpc, self._by_rest) for _ in range(threads)]

    def wait_for_answers(self, count):
        """Returns when so many more have come by gRPC."""
        with self._answered:
            wanted = len(self.versions) + count
            assert self._answered.wait_for(lambda: len(self.versions) >= wanted, servers.SECONDS), "no answers"

    def _by_grpc(self):
        while not self._done.wait(_PAUSE):
            try:
                answer = self._server.predictions.Predict(servers.message("detect_uint8", FRAMES), timeout=60)
                with self._answered:
                    self.versions.append(answer.model_spec.version.value)
                    self._answered.notify_all()
            except grpc.RpcError as error:
                self.failures.append(error)

    def _by_rest(self):
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
def test_versions_come_and_go_under_load(cold, tmp_path):
    """One after the other: a half-copied version, its completion, and the way back by taking it out."""
    folder = tmp_path / "fomm"
    shutil.copytree(cold / "1", folder / "1")
    with servers.start_embedded(folder) as server, Load(server) as load:
        shutil.copytree(cold / "1", folder / "2", ignore=lambda *_: ["variables"])
        (folder / "2" / "variables").mkdir()
        whole = next((cold / "1" / "variables").glob("*.data-*"))
        (folder / "2" / "variables" / whole.name).write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        shutil.copy(cold / "1" / "variables" / "variables.index", folder / "2" / "variables")
        servers.wait_for(server, "2", "END")
        told = httpx.get(f"{server.url}/versions/2").json()["model_version_status"][0]["status"]
        assert told["error_code"] != "OK"
        assert told["error_message"]
        servers.wait_for(server, "1", "AVAILABLE")
        load.wait_for_answers(1)
        assert set(load.versions) == {1}

        shutil.copy(whole, folder / "2" / "variables")
        servers.wait_for(server, "2", "AVAILABLE")
        servers.wait_for(server, "1", "END")
        count = len(load.versions)
        load.wait_for_answers(10)
        assert set(load.versions[count + 5 :]) == {2}

        shutil.rmtree(folder / "2")
        servers.wait_for(server, "1", "AVAILABLE")
        servers.wait_for(server, "2", "END")
        load.wait_for_answers(5)
    assert not load.failures
    assert load.versions[-1] == 1


@pytest.mark.slow
def test_a_full_queue_and_sigterm(cold):
    """Above the limit RESOURCE_EXHAUSTED and nothing else; what has been taken is answered after SIGTERM."""
    limit = 4

    body = json.dumps({"signature_name": "animate_uint8", "inputs": servers.plain(CLIP)})

    def ask(number):
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
        assert set(pool.map(ask, range(limit))) == {answered}
        results = list(pool.map(ask, range(16)))
        assert results.count(answered) >= limit
        assert set(results) == {answered, 429, grpc.StatusCode.RESOURCE_EXHAUSTED}

        waiting = [pool.submit(ask, number) for number in range(limit)]
        end = time.monotonic() + servers.SECONDS
        while servers.counted(server, "admitted_requests") < limit:
            assert time.monotonic() < end, "the requests did not come together"
        server.process.send_signal(signal.SIGTERM)
        assert [each.result() for each in waiting] == [answered] * limit
        assert server.process.wait(60) == 0
        with pytest.raises(grpc.RpcError) as raised:
            server.call("detect_uint8", FRAMES)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
def test_a_clip_goes_on_where_its_server_was_killed(cold, tmp_path):
    """By both protocols at once; the clip is what `fomm animate` makes."""
    video.write_image(tmp_path / "source.png", demo.draw_image(128))
    with video.write_video(tmp_path / "driving", 25) as writer:
        for frame in demo.draw_clip(128, 40):
            writer.write(frame)
    given = ["animate", "--source", str(tmp_path / "source.png"), "--driving", str(tmp_path / "driving"), "--quiet"]
    assert cli.main([*given, "--out", str(tmp_path / "here")]) == 0
    here = np.int16(list(video.open_video(tmp_path / "here")))

    ports = {"grpc_port": servers.free_port(), "rest_port": servers.free_port()}

    def animate(protocol):
        place = ["--server", f"127.0.0.1:{ports[f'{protocol}_port']}", "--protocol", protocol, "--patience", "120"]
        return command.main([*given, *place, "--batch-size", "2", "--out", str(tmp_path / protocol)])

    with concurrent.futures.ThreadPoolExecutor() as pool:
        with servers.start_embedded(cold, **ports) as server:
            clients = [pool.submit(animate, protocol) for protocol in ("grpc", "rest")]
            while servers.counted(server, "request_count") < 10:
                assert not any(client.done() for client in clients)
            server.process.kill()
        assert not any(client.done() for client in clients)
        with servers.start_embedded(cold, **ports) as server:
            assert [client.result(servers.SECONDS) for client in clients] == [0, 0]
            assert 0 < servers.counted(server, "request_count") < 2 * 20 + 2
    for protocol in ("grpc", "rest"):
        there = np.int16(list(video.open_video(tmp_path / protocol)))
        assert there.shape == here.shape
        assert np.abs(there - here).max() <= 1
