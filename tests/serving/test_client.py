"""The client's results, against the fake server; test_animate.py has real servers."""

import asyncio
import subprocess
import sys
import threading

import client_kinds
import fake_model
import fake_server
import numpy as np
import pytest
import servers
from client_kinds import CLIP, JPEGS, KINDS, PROTOCOLS, SOURCE

from fomm_tf import motion_filters
from fomm_tf.serving import client as clients


@pytest.mark.parametrize("kind", KINDS)
def test_client_methods_match_the_model(fake, kind):
    model = fake.model
    keypoints = model.predict("detect_uint8", {"frames": CLIP})
    encoded = model.predict("encode_source_uint8", {"source": SOURCE[None]})
    with client_kinds.connect(fake, kind) as client:
        assert (client.frame_size, client.num_keypoints) == ((6, 8), 2)
        detected = client.detect(CLIP)
        assert detected.value.dtype == detected.jacobian.dtype == np.float32
        np.testing.assert_array_equal(detected.value, keypoints["value"])
        np.testing.assert_array_equal(detected.jacobian, keypoints["jacobian"])
        source = client.encode_source(SOURCE)
        for name in ("image", "features", "source_lowres"):
            np.testing.assert_array_equal(getattr(source, name), encoded[name])
        np.testing.assert_array_equal(source.keypoints.value, encoded["source_value"])
        np.testing.assert_array_equal(source.keypoints.jacobian, encoded["source_jacobian"])
        initial = clients.Keypoints(detected.value[3:4], detected.jacobian[3:4])
        moved = client.transfer(source, detected, initial, adapt_scale=True)
        expected = encoded["source_value"] + 1.5 * (keypoints["value"] - initial.value)
        np.testing.assert_allclose(moved.value, expected, 1e-6)
        for name, part in client.transfer(source, detected, initial, relative=False)._asdict().items():
            np.testing.assert_array_equal(part, keypoints[name])
        rendered = client.render(source, moved)
        assert (rendered.shape, rendered.dtype) == ((21, 6, 8, 3), np.float32)
        np.testing.assert_allclose(
            rendered, encoded["image"] / (2 + np.abs(moved.value.sum((1, 2))))[:, None, None, None], rtol=1e-5
        )
        for options in ({}, {"relative": False}, {"adapt_scale": True}):
            frames = list(client.animate(SOURCE, iter(CLIP), **options))
            assert all(frame.dtype == np.uint8 for frame in frames)
            np.testing.assert_array_equal(frames, client_kinds.animate_at_once(model, CLIP, SOURCE, **options))
        assert list(client.animate_jpeg(JPEGS[0], iter(JPEGS))) == client_kinds.animate_at_once(model, JPEGS, JPEGS[0])
    assert fake.metadata_count == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relative", [True, False])
def test_client_smooths_keypoints_and_scales_motion(fake, kind, relative):
    smooth, options = motion_filters.KeypointSmoother(2.0, 30.0), {"relative": relative, "adapt_scale": True}
    with client_kinds.connect(fake, kind) as client:
        source, driving = client.encode_source(SOURCE), smooth(client.detect(CLIP))
        initial = clients.Keypoints(*(part[:1] for part in driving))
        moved = client.transfer(source, driving, initial, **options)
        if relative:
            moved = motion_filters.scale_motion(source.keypoints, moved, 1.5)
        expected = np.rint(client.render(source, moved) * 255)
        for batch_size in (4, 7, 100):  # with a last chunk of one frame, full chunks, and one chunk
            frames = client.animate(
                SOURCE, iter(CLIP), batch_size=batch_size, smooth=2.0, motion_strength=1.5, fps=30.0, **options
            )
            np.testing.assert_allclose(np.stack(list(frames)), expected, atol=1)
        for wrong, message in (
            ({"smooth": 11.0}, "`smooth` must be"),
            ({"motion_strength": -1.0}, "`motion_strength`"),
        ):
            with pytest.raises(clients.ArgumentError, match=message):
                list(client.animate(SOURCE, iter(CLIP), **wrong))


@pytest.mark.parametrize("kind", KINDS)
def test_client_without_jacobians(kind):
    with fake_server.serve(fake_model.Model(jacobian=False)) as fake, client_kinds.connect(fake, kind) as client:
        detected = client.detect(CLIP)
        assert detected.jacobian is None
        np.testing.assert_array_equal(detected.value, fake.model.predict("detect_uint8", {"frames": CLIP})["value"])
        source = client.encode_source(SOURCE)
        assert source.keypoints.jacobian is None
        moved = client.transfer(source, detected, clients.Keypoints(detected.value[:1], None))
        assert moved.jacobian is None
        assert client.render(source, moved).shape == CLIP.shape
        assert len(list(client.animate(SOURCE, CLIP))) == len(CLIP)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "path"), [({}, None), ({"version": 7}, "/versions/7"), ({"label": "stable"}, "/labels/stable")]
)
def test_client_requests_the_version_or_label(fake, kind, options, path):
    with client_kinds.connect(fake, kind, **options) as client:
        client.detect(CLIP[:1])
    assert [request.version_path for request in fake.requests] == [path]


@pytest.mark.parametrize("kind", KINDS)
def test_client_sends_float_frames_unchanged(fake, kind):
    frames = np.random.default_rng(2).random((3, 6, 8, 3))
    with client_kinds.connect(fake, kind) as client:
        client.detect(frames)
        client.encode_source(frames[:1])
        animated = list(client.animate(frames[0], frames))
    detect, encode = fake.requests[:2]
    assert (detect.signature, encode.signature) == ("detect", "encode_source")
    np.testing.assert_array_equal(detect.inputs["frames"], frames.astype(np.float32))
    np.testing.assert_array_equal(encode.inputs["source"], frames[:1].astype(np.float32))
    levels = np.rint(frames.astype(np.float32) * 255).astype(np.uint8)
    np.testing.assert_array_equal(animated, client_kinds.animate_at_once(fake.model, levels, levels[0]))


def test_async_client_serves_concurrent_tasks(fake):
    async def iterate(frames):
        for frame in frames:
            await asyncio.sleep(0)
            yield frame

    async def animate_four(protocol, address):
        async with clients.AsyncClient(address, protocol=protocol, retry_timeout=0.0) as client:
            await client.frame_size

            async def animate(source, driving):
                return [frame async for frame in client.animate(source, driving)]

            return await asyncio.gather(*(animate(CLIP[k], iterate(CLIP[k : k + 8])) for k in range(4)))

    for protocol in PROTOCOLS:
        # No request is answered before all four have arrived.
        barrier = threading.Barrier(4, timeout=fake_server.TIMEOUT)
        fake.faults.extend([barrier.wait] * 4)
        animated = asyncio.run(animate_four(protocol, getattr(fake, protocol)))
        for k, frames in enumerate(animated):
            np.testing.assert_array_equal(frames, client_kinds.animate_at_once(fake.model, CLIP[k : k + 8], CLIP[k]))
        assert not fake.faults and not barrier.broken, "the requests came one after the other"


@pytest.mark.parametrize("kind", KINDS)
def test_client_ignores_proxy_variables(fake, kind, monkeypatch):
    for name in ("http_proxy", "grpc_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://localhost:{servers.free_port()}")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with client_kinds.connect(fake, kind, retry_timeout=0.0) as client:
        assert client.frame_size == (6, 8)


_FRESH = """
import sys
import numpy as np
from fomm_tf.serving import client
with client.Client(sys.argv[1]) as connected:
    connected.detect(np.zeros([2, 6, 8, 3], np.uint8))
    assert len(list(connected.animate(np.zeros([6, 8, 3]), np.zeros([9, 6, 8, 3])))) == 9
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_rest_client_does_not_import_tensorflow(fake):
    line = [sys.executable, "-c", _FRESH, fake.rest]
    loaded = subprocess.run(line, cwd=servers.ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"fomm_tf", "httpx", "numpy"} <= set(loaded)
    assert not {"tensorflow", "tensorflow_serving", "grpc", "google", "cv2", "av", "PIL"} & set(loaded)
