"""TF-Serving's configuration files: valid, and consistent with each other. No server runs."""

import copy
import functools
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import compose_spec
import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

_SERVING = pathlib.Path(__file__).resolve().parents[2] / "serving"
_MANIFESTS = sorted((_SERVING / "kubernetes").glob("*.yaml"))
_CONFIGS = {
    "models.config": "ModelServerConfig",
    "batching.config": "BatchingParameters",
    "monitoring.config": "MonitoringConfig",
}
# The oldest and newest Kubernetes versions that the manifests are validated against.
_KUBERNETES = ("1.28", "1.37")

# tensorflow-serving-api has ModelServerConfig but not these messages of TF-Serving 2.15's session_bundle_config.proto
# and monitoring_config.proto: message -> field -> number, type (of a scalar, or a message's name).
_Field = descriptor_pb2.FieldDescriptorProto
_MESSAGES = {
    "PrometheusConfig": {"enable": (1, _Field.TYPE_BOOL), "path": (2, _Field.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, "fomm.PrometheusConfig")},
    "BatchingParameters": {
        "max_batch_size": (1, "google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, "google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, "google.protobuf.Int64Value"),
        "num_batch_threads": (4, "google.protobuf.Int64Value"),
        "thread_pool_name": (5, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, _Field.TYPE_INT64),
        "pad_variable_length_inputs": (7, _Field.TYPE_BOOL),
    },
}
_REPEATED = {"allowed_batch_sizes"}


@functools.cache
def message_class(name):
    if name == "ModelServerConfig":
        return model_server_config_pb2.ModelServerConfig
    file = descriptor_pb2.FileDescriptorProto(name="fomm.proto", package="fomm", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        added = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if field in _REPEATED else _Field.LABEL_OPTIONAL
            of_message = {"type": _Field.TYPE_MESSAGE, "type_name": f".{kind}"}
            added.field.add(
                name=field, number=number, label=label, **of_message if isinstance(kind, str) else {"type": kind}
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fomm.{name}"))


def read(name):
    return (_SERVING / name).read_text(encoding="utf-8")


def config(name):
    return text_format.Parse(read(name), message_class(_CONFIGS[name])())


def check_models(parsed):
    """Checks labels and versions as the server does at run time."""
    (model,) = parsed.model_config_list.config
    versions = list(model.model_version_policy.specific.versions)
    assert versions, "versions are explicit, so that a new export does not unload one"
    assert len(set(versions)) == len(versions)
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(versions), "a label points at a version that is not loaded"
    return model


def compose(text=None):
    """Returns the Compose file with the defaults of its variables."""
    text = read("compose.yaml") if text is None else text
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))


def manifests():
    return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in _MANIFESTS}


def container(manifest):
    (only,) = manifest["spec"]["template"]["spec"]["containers"]
    return only


def flags(arguments):
    values = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    assert len(values) == len(arguments), "duplicate flag"
    return values


def servers():
    """Returns (compose or kubernetes, device) -> image and flags."""
    services, deployments = compose()["services"], manifests()
    images_and_flags = {
        ("compose", name): (service["image"], flags(service["command"])) for name, service in services.items()
    }
    for device, name in {"cpu": "deployment.yaml", "gpu": "deployment-gpu.yaml"}.items():
        server = container(deployments[name])
        images_and_flags["kubernetes", device] = server["image"], flags(server["args"])
    return images_and_flags


@pytest.mark.parametrize("name", _CONFIGS)
def test_config_file_parses_as_its_message(name):
    assert config(name).ByteSize()
    with pytest.raises(text_format.ParseError):
        text_format.Parse(read(name) + "\nno_such_field: 1\n", message_class(_CONFIGS[name])())


def test_parsing_config_does_not_import_tensorflow():
    code = (
        "import sys; from tensorflow_serving.config import model_server_config_pb2; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_labels_need_only_version_1():
    model = check_models(config("models.config"))
    assert (model.name, model.base_path, model.model_platform) == ("fomm", "/models/fomm", "tensorflow")
    assert list(model.model_version_policy.specific.versions) == [1]


def test_check_models_rejects_label_of_unloaded_version():
    parsed = config("models.config")
    parsed.model_config_list.config[0].version_labels["canary"] = 2
    with pytest.raises(AssertionError, match="not loaded"):
        check_models(parsed)


def test_batch_sizes_increase_to_max_batch_size():
    batching = config("batching.config")
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == batching.max_batch_size.value
    assert not batching.pad_variable_length_inputs


def test_compose_file_is_valid():
    services = compose_spec.PyCompose.from_json(json.dumps(compose())).service_names()
    assert sorted(services) == ["cpu", "gpu"]


@pytest.mark.parametrize(
    ("valid", "invalid"),
    [
        ("stop_grace_period: 30s", "stop_grace_period: soon"),
        ("restart: unless-stopped", "restarts: unless-stopped"),
        (":8501:8501", ":8501:rest"),
        ("profiles: [cpu]", "profiles: cpu"),
        ("interval: 10s", "every: 10s"),
    ],
)
def test_invalid_compose_file_is_rejected(valid, invalid):
    text = read("compose.yaml")
    assert valid in text
    with pytest.raises(ValueError):
        compose_spec.PyCompose.from_json(json.dumps(compose(text.replace(valid, invalid))))


def test_compose_mounts_exist_and_are_read_only():
    for service in compose()["services"].values():
        mounts = {mount["target"]: mount for mount in service["volumes"]}
        assert set(mounts) == {"/models/fomm", "/config"}
        assert all(mount["read_only"] for mount in mounts.values())
        assert (_SERVING / mounts["/config"]["source"]).resolve() == _SERVING
        assert {entry.split(":", 1)[1] for entry in service["ports"]} == {"8500:8500", "8501:8501"}
    gpu = compose()["services"]["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(device["driver"], device["count"], device["capabilities"]) for device in gpu] == [("nvidia", 1, ["gpu"])]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(("state", "healthy"), [("AVAILABLE", True), ("LOADING", False)])
def test_health_check_requires_an_available_version(state, healthy):
    class Status(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_model = self.path == "/v1/models/fomm"
            answer = {"model_version_status": [{"version": "1", "state": state}]} if is_model else {"error": "unknown"}
            self.send_response(200 if is_model else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer, indent=1).encode())

        def log_message(self, *_):
            pass

    service = compose()["services"]["cpu"]
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Status) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [part.replace("127.0.0.1/8501", f"127.0.0.1/{server.server_port}") for part in command]
        assert (subprocess.run(command, timeout=20, capture_output=True).returncode == 0) is healthy
        server.shutdown()
    assert subprocess.run(command, timeout=20, capture_output=True).returncode != 0, "no server"


@pytest.mark.parametrize("version", _KUBERNETES)
@pytest.mark.parametrize("path", _MANIFESTS, ids=lambda path: path.name)
def test_manifest_is_valid(path, version):
    kubernetes_validate.validate(yaml.safe_load(path.read_text(encoding="utf-8")), version, strict=True)


@pytest.mark.parametrize(
    "break_spec",
    [
        lambda spec: spec.update(replicas="two"),
        lambda spec: spec["template"]["spec"]["containers"][0].update(readynessProbe={}),
        lambda spec: spec["template"]["spec"]["containers"][0].pop("name"),
        lambda spec: spec.pop("selector"),
    ],
    ids=["type", "misspelled", "no name", "no selector"],
)
def test_invalid_manifest_is_rejected(break_spec):
    manifest = copy.deepcopy(manifests()["deployment.yaml"])
    break_spec(manifest["spec"])
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        kubernetes_validate.validate(manifest, _KUBERNETES[-1], strict=True)


def test_config_map_equals_the_files():
    assert manifests()["config.yaml"]["data"] == {name: read(name) for name in _CONFIGS}


def test_servers_differ_only_in_device_flags():
    # Only GPUs: batching and the share of memory; only CPU pods: threads according to the limit.
    gpu = {"enable_batching": "true", "batching_parameters_file": "/config/batching.config"}
    gpu["per_process_gpu_memory_fraction"] = "0.8"
    threads = {"tensorflow_intra_op_parallelism": "4", "tensorflow_inter_op_parallelism": "2"}
    all_servers = servers()
    common = all_servers["compose", "cpu"][1]
    for (platform, device), (image, server_flags) in all_servers.items():
        specific = gpu if device == "gpu" else threads if platform == "kubernetes" else {}
        assert server_flags == common | specific, (platform, device)
        assert image == "tensorflow/serving:2.15.1" + ("-gpu" if device == "gpu" else "")
    assert common["allow_version_labels_for_unavailable_models"] == "true", "or a starting server rejects its labels"
    files = {value.removeprefix("/config/") for key, value in (common | gpu).items() if key.endswith("_file")}
    assert files == set(_CONFIGS)


@pytest.mark.parametrize("name", ["deployment.yaml", "deployment-gpu.yaml"])
def test_pod_ports_probes_times_and_volumes_are_consistent(name):
    documents = manifests()
    pod = documents[name]["spec"]["template"]
    server, server_flags = container(documents[name]), flags(container(documents[name])["args"])
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert (
        ports
        == {"grpc": int(server_flags["port"]), "rest": int(server_flags["rest_api_port"])}
        == {"grpc": 8500, "rest": 8501}
    )
    assert {port["targetPort"]: port["port"] for port in documents["service.yaml"]["spec"]["ports"]} == ports
    for probe in ("startupProbe", "readinessProbe"):
        assert server[probe]["httpGet"] == {"path": "/v1/models/fomm", "port": "rest"}

    pause = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert int(server_flags["rest_api_timeout_in_ms"]) / 1000 < pause < pod["spec"]["terminationGracePeriodSeconds"]

    annotations = pod["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == config("monitoring.config").prometheus_config.path
    assert int(annotations["prometheus.io/port"]) == ports["rest"]

    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    assert all(mounts[path]["readOnly"] for path in ("/models", "/config"))
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == documents["volume.yaml"]["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == documents["config.yaml"]["metadata"]["name"]


def test_selectors_match_the_pods():
    documents = manifests()
    deployments = [documents["deployment.yaml"], documents["deployment-gpu.yaml"]]
    for deployment in deployments:
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
        assert documents["service.yaml"]["spec"]["selector"].items() <= labels
        assert documents["disruption.yaml"]["spec"]["selector"]["matchLabels"].items() <= labels
    first, second = (deployment["spec"]["selector"]["matchLabels"] for deployment in deployments)
    assert first != second, "each would select the other's pods"
    target = documents["autoscaler.yaml"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", documents["deployment.yaml"]["metadata"]["name"])


def test_pod_limits_match_the_flags():
    cpu, gpu = (container(manifests()[name]) for name in ("deployment.yaml", "deployment-gpu.yaml"))
    assert cpu["resources"]["limits"]["cpu"] == flags(cpu["args"])["tensorflow_intra_op_parallelism"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in cpu["resources"]["limits"]
    assert all({"cpu", "memory"} <= set(server["resources"]["limits"]) for server in (cpu, gpu))


def test_deployment_page_names_every_file():
    page = (_SERVING.parent / "docs" / "deployment.md").read_text(encoding="utf-8")
    names = [*_CONFIGS, "compose.yaml", *(path.name for path in _MANIFESTS)]
    assert not [name for name in names if name not in page]
