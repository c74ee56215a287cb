"""Who may call the server: tokens and TLS; health, reflection, and reloading."""

import shutil
import subprocess

import counter_model
import grpc
import httpx
import in_process
import numpy as np
import pytest
import servers
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import model_management_pb2

from fomm_tf.serving import grpc_transport, rest_transport, signatures
from fomm_tf.serving import target as targets
from fomm_tf.serving.local import versions

AUTHORIZATION = {"authorization": "Bearer secret"}


def test_server_with_a_token_answers_who_has_it():
    with in_process.serve(token="secret") as server:
        refused = server.post("double", in_process.ONE)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        body = {"signature_name": "double", "inputs": [[1.0, 1.0]]}
        assert httpx.post(f"{server.url}:predict", json=body, headers=AUTHORIZATION).status_code == 200
        assert httpx.get(f"http://{server.rest}/healthz").status_code == 200
        for metadata in (None, [("authorization", "Bearer other")]):
            with pytest.raises(grpc.RpcError) as raised:
                server.predictions.Predict(servers.message("double", in_process.ONE), metadata=metadata)
            assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
        message = servers.message("double", in_process.ONE)
        assert server.predictions.Predict(message, metadata=list(AUTHORIZATION.items()))
        check = health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())
        assert check.status == check.SERVING


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_server_and_clients_use_tls(tmp_path):
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    line = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*line.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    with in_process.serve(certificate=(cert, key), token="secret") as server:
        for module, address in ((rest_transport, server.rest), (grpc_transport, server.grpc)):
            target = targets.Target(address, "fomm", None, None, 60.0, 0.0, 2**20, token="secret", ca_file=cert)
            transport = module.Transport(target)
            call = signatures.Call("double", in_process.ONE)
            assert transport.send(module.Codec(target).predict_request(call))
            transport.close()


def test_grpc_health_and_reflection():
    with in_process.serve() as server:
        stub = health_pb2_grpc.HealthStub(server.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        (answer,) = reflection.ServerReflectionInfo(iter([request]))
        names = {service.name for service in answer.list_services_response.service}
        assert {"tensorflow.serving.PredictionService", "grpc.health.v1.Health"} <= names
        server.stop()
        server.thread.join(in_process.TIMEOUT / 2)
        assert not server.thread.is_alive(), "a watching client does not delay the end"


def test_reload_sets_labels_and_loads_new_versions(tmp_path):
    counter_model.write(tmp_path / "1")

    def reload(labels, name="fomm", path=str(tmp_path)):
        request = model_management_pb2.ReloadConfigRequest()
        config = request.config.model_config_list.config.add(name=name, base_path=path)
        config.version_labels.update(labels)
        server.models.HandleReloadConfigRequest(request)

    manager = versions.VersionManager("fomm", tmp_path, {})
    with in_process.serve(versions=manager) as server:
        shutil.copytree(tmp_path / "1", tmp_path / ".2")
        (tmp_path / ".2").rename(tmp_path / "2")
        reload({"stable": 1})
        number = {"number": np.float32([3])}
        assert server.call("add", number, label="stable")["total"] == 3
        assert server.call("add", number)["total"] == 3, "of version 2"
        for labels, name, path in (({"stable": 7}, "fomm", ""), ({}, "other", ""), ({}, "fomm", "/elsewhere")):
            with pytest.raises(grpc.RpcError) as raised:
                reload(labels, name, path)
            assert raised.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
            assert str(tmp_path) not in raised.value.details()
        assert server.call("add", number, label="stable")["total"] == 6
