"""What the client rejects, and what it reports without a server, model or package."""

import sys

import client_kinds
import fake_model
import fake_server
import numpy as np
import pytest
import servers
from client_kinds import CLIP, JPEGS, KINDS, SOURCE

from fomm_tf.serving import client as clients


@pytest.mark.parametrize("kind", KINDS)
def test_client_without_a_server_names_the_command(kind):
    address = f"localhost:{servers.free_port()}"
    client = (client_kinds.BlockingClient if "asyncio" in kind else clients.Client)(
        address, protocol=kind[:4], retry_timeout=0.2
    )
    with client, pytest.raises(clients.ServerError) as caught:
        client.detect(CLIP)
    assert caught.value.code == "UNAVAILABLE"
    for words in (f"Server {address} is unavailable", "model fomm", "fomm serve --model DIR", "0.2 s"):
        assert words in str(caught.value)


KEYPOINTS = clients.Keypoints(np.zeros([3, 2, 2], np.float32), np.zeros([3, 2, 2, 2], np.float32))
ONE_FRAME = clients.Keypoints(*(part[:1] for part in KEYPOINTS))
ENCODED = clients.EncodedSource(SOURCE[None], SOURCE[None], SOURCE[None], ONE_FRAME)
NAN_VALUE = np.full([1, 2, 2], np.nan, np.float32)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("detect", [CLIP[0]], r"`frames`: got shape \[6, 8, 3\]; expected \[N, 6, 8, 3\]"),
        ("detect", [CLIP[:, :, :6]], r"`frames`: got shape \[21, 6, 6, 3\]"),
        ("detect", [CLIP[:, :, :, :1]], r"`frames`: got shape \[21, 6, 8, 1\]"),
        ("detect", [CLIP[:0]], "`frames`: got no frames"),
        ("detect", [CLIP.astype(int)], "`frames`: got int64; expected uint8, or float"),
        ("detect", [CLIP.astype(float)], r"`frames`: got values from 0 to 255; expected float in \[0, 1\]"),
        ("detect", [np.full([1, 6, 8, 3], np.nan)], "`frames`: got values from nan to nan"),
        ("encode_source", [CLIP[:2]], "`image`: got 2 images; expected one"),
        ("encode_source", [CLIP[:0]], "`image`: got no frames"),
        ("transfer", [ENCODED, KEYPOINTS, KEYPOINTS], "`initial`: got keypoints of 3 frames; expected one"),
        (
            "transfer",
            [ENCODED, KEYPOINTS._replace(value=KEYPOINTS.value[:, :1]), ONE_FRAME],
            r"`driving`.value: got float32 \[3, 1, 2\]",
        ),
        (
            "transfer",
            [ENCODED, KEYPOINTS._replace(jacobian=None), ONE_FRAME],
            "`driving`.jacobian: got None; expected an array",
        ),
        (
            "render",
            [ENCODED, KEYPOINTS._replace(value=KEYPOINTS.value[:1])],
            "`keypoints`: got 1 values and 3 Jacobians",
        ),
        ("render", [ENCODED, ONE_FRAME._replace(value=NAN_VALUE)], "`keypoints`.value: got NaN"),
        ("render", [ENCODED, clients.Keypoints(*(part[:0] for part in KEYPOINTS))], "N at least 1"),
        ("animate", [CLIP, CLIP], "`source`: got 21 images"),
        ("animate", [SOURCE, []], "`driving`: got no frames"),
        ("animate", [SOURCE, [SOURCE[1:]]], "`driving` frame 0: got .*6, 8, 3"),
        ("animate", [SOURCE, CLIP, True, False, 0], "`batch_size`: got 0; expected at least 1"),
        ("animate", [SOURCE, CLIP, True, False, 0, 1.0], "`batch_size`: got 0; expected at least 1"),
        ("animate", [SOURCE, [], True, False, 8, 1.0], "`driving`: got no frames; expected at least one"),
        ("animate_jpeg", [b"GIF89a", JPEGS], "`source`: got bytes that start with b'GIF89a'; expected a JPEG or PNG"),
        ("animate_jpeg", [JPEGS[0], [JPEGS[0], "face.jpg"]], "`driving` frame 1: got str; expected bytes"),
    ],
)
def test_client_rejects_invalid_arguments(fake, method, arguments, message):
    for kind in KINDS[::2]:
        with client_kinds.connect(fake, kind) as client, pytest.raises(clients.ArgumentError, match=message):
            list(getattr(client, method)(*arguments))
    assert not fake.requests


def test_client_rejects_jacobians_for_a_model_without():
    with (
        fake_server.serve(fake_model.Model(jacobian=False)) as fake,
        client_kinds.connect(fake, "rest") as client,
        pytest.raises(clients.ArgumentError, match=r"`keypoints`.jacobian: got an array; expected None"),
    ):
        client.render(ENCODED, KEYPOINTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": "localhost"}, "`server`: got 'localhost'; expected HOST:PORT"),
        ({"server": "http://localhost:8501"}, "expected HOST:PORT"),
        ({"model": ""}, "`model`: got an empty name"),
        ({"version": 1, "label": "stable"}, "`version` and `label`: got 1 and 'stable'"),
        ({"version": -1}, "`version`: got -1"),
        ({"ca_file": "missing.pem"}, "`ca_file`: missing.pem does not exist; expected a certificate, a PEM file"),
        ({"protocol": "soap"}, "`protocol`: got 'soap'; expected rest or grpc"),
        ({"timeout": 0.0}, "`timeout`: got 0 s"),
        ({"retry_timeout": -1.0}, "`retry_timeout`: got -1 s"),
    ],
)
@pytest.mark.parametrize("client_class", [clients.Client, clients.AsyncClient])
def test_client_rejects_an_invalid_target(client_class, options, message):
    with pytest.raises(clients.ArgumentError, match=message):
        client_class(**{"server": "localhost:8501"} | options)


@pytest.mark.parametrize("kind", KINDS)
def test_client_closes_without_a_request(kind):
    with (client_kinds.BlockingClient if "asyncio" in kind else clients.Client)("localhost:1", protocol=kind[:4]):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_client_rejects_a_model_with_other_signatures(fake, kind, monkeypatch):
    monkeypatch.setattr(fake.model, "metadata", lambda: {"signature_def": {}})
    with (
        client_kinds.connect(fake, kind) as client,
        pytest.raises(clients.ServerError, match="not that of an exported model") as caught,
    ):
        client.detect(CLIP)
    assert caught.value.code == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("protocol", "module", "package"), [("rest", "rest_transport", "httpx"), ("grpc", "grpc_transport", "grpc")]
)
def test_client_names_missing_packages(monkeypatch, protocol, module, package):
    from fomm_tf import serving

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"fomm_tf.serving.{module}")
    monkeypatch.delattr(serving, module)
    with pytest.raises(
        ImportError, match=rf'`protocol` {protocol} needs .*{package}.*pip install "fomm-tf\[serving\]"'
    ):
        clients.Client("localhost:1", protocol=protocol)
