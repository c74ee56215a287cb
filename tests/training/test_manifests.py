"""Kubernetes manifests of a training on several machines: valid, and consistent with each other. No cluster runs."""

import json
import pathlib
import subprocess

import kubernetes_validate
import pytest
import tensorflow as tf
import yaml

from fomm_tf import cli, config
from fomm_tf.training import cluster

_FOLDER = pathlib.Path(__file__).resolve().parents[2] / "serving" / "kubernetes" / "training"
_MANIFESTS = sorted(_FOLDER.glob("*.yaml"))
# The first version in which failure policies of jobs are stable, and the newest whose schemas are known.
_KUBERNETES = ("1.31", "1.37")


def manifest(name):
    return yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def job():
    return manifest("job")


@pytest.fixture
def worker(job):
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return only


def tf_config(worker, index):
    """TF_CONFIG as Kubernetes expands it in the pod of an index."""
    values = {variable["name"]: variable for variable in worker["env"]}
    names = list(values)
    path = values["WORKER"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert names.index("WORKER") < names.index("TF_CONFIG"), "only earlier variables are expanded"
    return values["TF_CONFIG"]["value"].replace("$(WORKER)", str(index))


@pytest.mark.parametrize("version", _KUBERNETES)
@pytest.mark.parametrize("path", _MANIFESTS, ids=lambda path: path.name)
def test_training_manifest_is_valid(path, version):
    kubernetes_validate.validate(yaml.safe_load(path.read_text(encoding="utf-8")), version, strict=True)


def test_misspelled_job_is_rejected(job):
    job["spec"]["podFailurePolicies"] = job["spec"].pop("podFailurePolicy")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, _KUBERNETES[-1], strict=True)


def test_tf_config_names_every_pod_of_the_job(job, worker):
    service, pod = manifest("service"), job["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None" and pod["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (port,) = worker["ports"]
    assert service["spec"]["ports"][0]["port"] == port["containerPort"]
    count = job["spec"]["completions"]
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["parallelism"] == count
    hosts = [
        f"{job['metadata']['name']}-{index}.{service['metadata']['name']}:{port['containerPort']}"
        for index in range(count)
    ]
    for index in range(count):
        read = json.loads(tf_config(worker, index))
        assert read == {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}


def test_tf_config_is_read_by_tensorflow(worker, monkeypatch):
    for index in range(2):
        monkeypatch.setenv("TF_CONFIG", tf_config(worker, index))
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        strategy = type("Strategy", (), {"cluster_resolver": resolver})
        assert cluster.count_workers(strategy) == 2 and cluster.is_chief(strategy) == (index == 0)


@pytest.mark.parametrize("is_started", [False, True])
def test_job_starts_a_run_and_resumes_it(is_started, worker, tmp_path):
    # The script of the container, with its directory of runs here and a program that prints its arguments.
    script = worker["args"][0].replace("/runs/", f"{tmp_path}/runs/")
    run = tmp_path / "runs" / "vox"
    if is_started:
        run.mkdir(parents=True)
        (run / "config.yaml").touch()
    (tmp_path / "fomm").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "fomm").chmod(0o755)
    done = subprocess.run(
        [*worker["command"], script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    arguments = cli._parser().parse_args(done.stdout.splitlines())
    assert arguments.folder == run and arguments.resume == is_started
    if not is_started:
        settings = config.override(config.load(config.recipes()[arguments.config]), arguments.overrides)
        assert settings.train.batch_size % manifest("job")["spec"]["completions"] == 0


def test_job_restarts_pods_but_not_for_errors_of_the_user(job, worker):
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never", "failure policies need it"
    rules = {rule["action"]: rule for rule in job["spec"]["podFailurePolicy"]["rules"]}
    assert rules["FailJob"]["onExitCodes"] == {"containerName": worker["name"], "operator": "In", "values": [2]}
    assert rules["Ignore"]["onPodConditions"][0]["type"] == "DisruptionTarget"


def test_job_mounts_the_volume_of_the_runs(job, worker):
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    claim = manifest("volume")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert {mount["name"] for mount in worker["volumeMounts"]} == set(volumes)
