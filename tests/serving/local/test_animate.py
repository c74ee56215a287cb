"""`:animate` with a function in place of the animation: uploads, jobs, cancellation, limits, and the API's pages."""

import threading
import time

import httpx
import in_process
import pytest
import schemathesis

from fomm_tf import errors
from fomm_tf.serving.local import jobs
from fomm_tf.serving.local import server as servers_module

FILES = {"source": ("me.JPG", b"image"), "driving": ("../talk.mp4", b"video" * 1000)}


class Animation:
    """Writes what it got; with the option `fail` it fails, with `wait` it runs the model until it is cancelled.

    Attributes:
      jobs: that it got.
    """

    def __init__(self):
        self.jobs, self.waiting = [], threading.Event()

    def __call__(self, job, run):
        self.jobs.append(job)
        if "fail" in job.options:
            raise errors.UserError(f"{job.driving} is damaged.")
        if "bug" in job.options:
            raise ZeroDivisionError
        while "wait" in job.options:
            run("double", in_process.ONE)
            self.waiting.set()
        job.total = 1
        job.result.write_bytes(job.source.read_bytes() + job.driving.read_bytes())


@pytest.fixture
def animation():
    return Animation()


@pytest.fixture
def server(animation):
    options = servers_module.Animation(animation, max_frames=10, max_upload_bytes=10_000)
    with in_process.serve(animation=options, cors=("http://a.test",)) as started:
        yield started


def post(server, prefer=None, files=FILES, **fields):
    headers = {"prefer": prefer} if prefer else {}
    return httpx.post(f"{server.url}:animate", files=files, data=fields, headers=headers, timeout=in_process.TIMEOUT)


def wait_for_end(server, job_id):
    while (job := httpx.get(f"http://{server.rest}/v1/jobs/{job_id}").json())["state"] in ("queued", "running"):
        time.sleep(0.001)
    return job


def test_animate_answers_with_the_video(server, animation):
    answer = post(server, mode="absolute")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert answer.content == b"image" + b"video" * 1000
    (job,) = animation.jobs
    assert job.options == {"mode": "absolute"}
    assert (job.source.name, job.driving.name) == ("source.jpg", "driving.mp4")
    assert not job.source.exists(), "uploads are deleted"


def test_animate_as_a_job(server):
    answer = post(server, "respond-async")
    assert answer.status_code == 202
    job = wait_for_end(server, answer.headers["location"].rpartition("/")[2])
    assert (job["state"], job["total"], job["error"]) == ("done", 1, None)
    assert httpx.get(f"http://{server.rest}{job['result']}").content == b"image" + b"video" * 1000
    httpx.delete(f"http://{server.rest}/v1/jobs/{job['id']}")
    assert httpx.get(f"http://{server.rest}{job['result']}").status_code == 404


def test_job_is_cancelled(server, animation):
    job_id = post(server, "respond-async", wait="yes").json()["id"]
    assert animation.waiting.wait(in_process.TIMEOUT)
    assert httpx.get(f"http://{server.rest}/v1/jobs/{job_id}/result").status_code == 400
    httpx.delete(f"http://{server.rest}/v1/jobs/{job_id}")
    assert wait_for_end(server, job_id)["state"] == "cancelled"


def test_job_ends_when_its_client_is_gone(server, animation):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}:animate", files=FILES, data={"wait": "yes"}, timeout=0.2)
    assert wait_for_end(server, animation.jobs[0].id)["state"] == "cancelled"


def test_animate_reports_errors(server):
    answer = post(server, fail="yes")
    assert (answer.status_code, answer.json()) == (400, {"error": "driving.mp4 is damaged."})
    assert post(server, bug="yes").status_code == 500


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        ({"source": FILES["source"]}, 400, "driving"),
        ({"source": ("a", b"a" * 20_000), "driving": ("b", b"b")}, 413, "10,000 bytes"),
        ([("source", ("a", b"a"))] * 3, 400, "two files"),
    ],
    ids=["missing", "too large", "too many"],
)
def test_animate_rejects_uploads(server, files, code, message):
    answer = post(server, files=files)
    assert answer.status_code == code
    assert message in answer.json()["error"]


def test_animate_rejects_other_bodies(server):
    answer = httpx.post(f"{server.url}:animate", content=b"{}")
    assert answer.status_code == 400
    assert "multipart/form-data" in answer.json()["error"]
    broken = {"content-type": "multipart/form-data; boundary=a"}
    assert httpx.post(f"{server.url}:animate", content=b"--b\r\n", headers=broken).status_code == 400


def test_jobs_are_limited_and_expire(server, animation, monkeypatch):
    ids = [post(server, "respond-async", wait="yes").json()["id"] for _ in range(8)]
    refused = post(server, "respond-async")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    for job_id in ids:
        httpx.delete(f"http://{server.rest}/v1/jobs/{job_id}")
    wait_for_end(server, ids[-1])
    monkeypatch.setattr(jobs, "_KEEP_SECONDS", -1.0)
    assert httpx.get(f"http://{server.rest}/v1/jobs/{ids[-1]}").status_code == 404
    assert not animation.jobs[0].directory.exists()


def test_openapi_describes_the_paths_of_the_server(server):
    document = httpx.get(f"http://{server.rest}/openapi.json").json()
    assert {result.ok().method for result in schemathesis.openapi.from_dict(document).get_all_operations()} == {
        "get",
        "post",
        "delete",
    }
    for path in document["paths"]:
        for name, value in {"name": "fomm", "version": "1", "label": "a", "id": "a"}.items():
            path = path.replace(f"{{{name}}}", value)
        answer = httpx.get(f"http://{server.rest}{path}")
        assert "Malformed" not in answer.text or path.endswith((":predict", ":animate"))


def test_docs_page_needs_no_other_server(server):
    page = httpx.get(f"http://{server.rest}/docs").text
    assert "fomm:animate" in page
    assert "http" not in page


def test_cors_allows_the_given_origin_only(server):
    for origin, allowed in {"http://a.test": "http://a.test", "http://b.test": None}.items():
        answer = httpx.get(f"http://{server.rest}/healthz", headers={"origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_jobs_are_cancelled_and_deleted_when_the_server_stops(animation):
    options = servers_module.Animation(animation, max_frames=10, max_upload_bytes=10_000)
    with in_process.serve(animation=options) as server:
        post(server, "respond-async", wait="yes")
        assert animation.waiting.wait(in_process.TIMEOUT)
    assert not animation.jobs[0].directory.parent.exists()
