"""`POST /v1/models/NAME:animate`: an image and a video in, an mp4 out, at once or as a job; the pages about the API."""

from __future__ import annotations

import asyncio
import pathlib
import re
import shutil
import time
from collections.abc import MutableMapping

import grpc
import yaml
from starlette import datastructures, exceptions, formparsers, requests, responses

from fomm_tf.serving.local import core as cores
from fomm_tf.serving.local import jobs, rest_app, status

_HERE = pathlib.Path(__file__).parent
_JOB = r"/v1/jobs/(?P<job_id>[A-Za-z0-9_-]{1,64})"
_FILES, _MAX_FIELDS, _MAX_FIELD_BYTES = ("source", "driving"), 40, 4096
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")
# An upload may take so many times as long as a request.
_UPLOAD_TIMEOUTS = 10


class AnimateRoutes:
    """Handlers for `rest_app.RestApp`.

    Args:
      core: with the limits.
      animations: the jobs.
      max_upload_bytes: of one request, on disk.
    """

    def __init__(self, core: cores.ServerCore, animations: jobs.Jobs, max_upload_bytes: int) -> None:
        self._core, self._jobs, self._max_bytes = core, animations, max_upload_bytes

    def routes(self) -> list[tuple[str, str, rest_app.Handler]]:
        """Method, pattern of the path, and handler."""
        return [
            ("POST", f"{rest_app.MODEL}:animate", self._animate),
            ("GET", _JOB, self._get_job),
            ("DELETE", _JOB, self._delete_job),
            ("GET", f"{_JOB}/result", self._get_result),
            ("GET", r"/openapi\.json", self._get_openapi),
            ("GET", "/docs", self._get_docs),
        ]

    async def _animate(self, request: requests.Request, _: cores.HeldBytes, **path: str | None) -> responses.Response:
        key = rest_app.model_key(**path)
        with self._core.versions.lease(*key):  # an unknown model is reported before the upload
            self._jobs.check_room()
        directory = self._jobs.new_directory()
        try:
            job = await self._receive(request, directory)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        self._jobs.start(job, key)
        if "respond-async" in request.headers.get("prefer", ""):
            return responses.JSONResponse(job.describe(), 202, {"location": f"/v1/jobs/{job.id}"})
        try:
            await rest_app.cancel_on_disconnect(request, job.finished.wait())
        except status.RpcError:
            job.cancelled.set()
            raise
        return self._result(job)

    async def _get_job(self, _: requests.Request, __: cores.HeldBytes, job_id: str) -> responses.Response:
        return responses.JSONResponse(self._jobs.get(job_id).describe())

    async def _delete_job(self, _: requests.Request, __: cores.HeldBytes, job_id: str) -> responses.Response:
        return responses.JSONResponse(self._jobs.delete(job_id).describe())

    async def _get_result(self, _: requests.Request, __: cores.HeldBytes, job_id: str) -> responses.Response:
        return self._result(self._jobs.get(job_id))

    def _result(self, job: jobs.Job) -> responses.Response:
        if job.error:
            raise job.error
        if not job.finished.is_set():
            message = f"job {job.id} is {job.state}; expected done; ask for /v1/jobs/{job.id} until it is."
            raise status.RpcError(grpc.StatusCode.FAILED_PRECONDITION, message)
        return responses.FileResponse(job.result, media_type="video/mp4", headers={"x-job-id": job.id})

    async def _receive(self, request: requests.Request, directory: pathlib.Path) -> jobs.Job:
        """Receives the form; its files go to disk."""
        limits, size = self._core.limits, 0
        deadline = time.monotonic() + _UPLOAD_TIMEOUTS * limits.timeout

        async def receive() -> MutableMapping:
            nonlocal size
            seconds = max(0.0, min(limits.idle_timeout, deadline - time.monotonic()))
            part = await self._core.wait_for_input(request.receive(), seconds)
            size += len(part.get("body", b""))
            if size > self._max_bytes:
                raise status.RpcError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"request: got more than {self._max_bytes:,} bytes; send a shorter or smaller video.",
                    http_status=status.CONTENT_TOO_LARGE,
                )
            return part

        kind = request.headers.get("content-type", "")
        status.require(
            kind.startswith("multipart/form-data"), f"content-type: got {kind[:50]!r}; expected multipart/form-data."
        )
        try:
            form = await requests.Request(request.scope, receive).form(
                max_files=len(_FILES), max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
            )
        except (formparsers.MultiPartException, exceptions.HTTPException) as error:
            reason = getattr(error, "message", None) or getattr(error, "detail", "")
            raise status.invalid_argument(f"request: it is not a form of two files and options: {reason}") from None
        except requests.ClientDisconnect:
            raise status.cancelled() from None
        try:
            items = form.multi_items()
            files = {name: value for name, value in items if isinstance(value, datastructures.UploadFile)}
            for name in _FILES:
                status.require(name in files, f"{name}: got no file; expected one, such as -F {name}=@FILE with curl.")
            paths = {}
            for name in _FILES:
                suffix = _SUFFIX.search(files[name].filename or "")
                paths[name] = directory / f"{name}{suffix[0].lower() if suffix else ''}"
                await asyncio.to_thread(_copy, files[name], paths[name])
            options = {name: value for name, value in items if isinstance(value, str)}
            return jobs.Job(directory, paths["source"], paths["driving"], options)
        finally:
            await form.close()

    async def _get_openapi(self, _: requests.Request, __: cores.HeldBytes) -> responses.Response:
        document = yaml.safe_load((_HERE / "openapi.yaml").read_text(encoding="utf-8"))
        return responses.JSONResponse(document)

    async def _get_docs(self, _: requests.Request, __: cores.HeldBytes) -> responses.Response:
        page = (_HERE / "docs.html").read_text(encoding="utf-8").replace("MODEL_NAME", self._core.versions.name)
        return responses.HTMLResponse(page)


def _copy(upload: datastructures.UploadFile, path: pathlib.Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
