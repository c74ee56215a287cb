"""Writes clips with many processes: finished clips are kept, so that a run that was stopped can be continued.

A clip's folder of frames appears last and whole; a clip is finished when it is there. `plan.json` holds the options: a
run with other options does not continue into the same folder.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fomm_tf import errors, files, video, workers
from fomm_tf.data.people import clips

PLAN, TRUTH = "plan.json", "people.json"
_FPS = 25


class Job(NamedTuple):
    """A clip to write.

    Attributes:
      folder: of the set.
      name: of the clip below it: `train/00003#001`.
      clip: what it is drawn from.
      masks: write the face's masks to `masks/NAME` too.
      still: where to write the first frame as an image, below `folder`; empty for nowhere.
    """

    folder: pathlib.Path
    name: str
    clip: clips.Clip
    masks: bool = False
    still: str = ""


def open_set(folder: pathlib.Path, options: dict) -> None:
    """Starts or continues a set.

    Args:
      folder: new, empty, or of a run with the same options.
      options: JSON values.

    Raises:
      UserError: if something else is in the folder, or a set with other options.
    """
    if folder.exists() and not folder.is_dir():
        raise errors.UserError(f"--out {folder} is not a directory; name a folder.")
    plan = folder / PLAN
    if plan.is_file():
        before = json.loads(plan.read_text(encoding="utf-8"))
        changed = [name for name in options if options[name] != before.get(name)]
        if changed:
            raise errors.UserError(
                f"--out {folder} holds a set with other options ({', '.join(changed)}); name a new folder, or give the "
                f"options in {plan}."
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise errors.UserError(f"--out {folder} is not empty; name a new folder, or remove it first.")
    files.write_json(plan, options)


def write_clips(jobs: Iterable[Job], processes: int) -> int:
    """Draws the clips that are not there yet; a bar on the terminal shows rate and time left.

    Args:
      jobs: all of a set.
      processes: at least 1.

    Returns:
      How many clips were drawn.
    """
    jobs = list(jobs)
    missing = [job for job in jobs if not (job.folder / job.name).is_dir()]
    in_processes = processes > 1 and len(missing) > 1
    workers.run(
        _write,
        missing,
        processes if in_processes else 0,
        name=lambda job: job.name,
        setup=_use_one_thread,
        finished=len(jobs) - len(missing),
        unit="clip",
    )
    return len(missing)


def write_truth(jobs: Iterable[Job], folder: pathlib.Path, options: dict) -> None:
    """Collects what is known about all clips in `people.json`."""
    records = {job.name: json.loads(_truth_path(job).read_text(encoding="utf-8")) for job in jobs}
    document = {"options": options, "landmark_names": clips.landmark_names(), "clips": records}
    files.write_json(folder / TRUTH, document, indent=None)


def _use_one_thread() -> None:
    from fomm_tf.opencv import cv2

    cv2.setNumThreads(1)


def _truth_path(job: Job) -> pathlib.Path:
    return job.folder / "truth" / f"{job.name}.json"


def _write(job: Job) -> None:
    truths, masks = [], []
    with files.replace_atomically(job.folder / job.name) as temporary:
        with video.write_video(temporary, _FPS) as writer:
            for number, frame in enumerate(clips.render(job.clip)):
                if job.still and not number:
                    still = job.folder / job.still
                    still.parent.mkdir(parents=True, exist_ok=True)
                    video.write_image(still, frame.image)
                writer.write(frame.image)
                truths.append(frame.truth)
                masks.append(frame.face)
        if job.masks:
            with (
                files.replace_atomically(job.folder / "masks" / job.name) as folder,
                video.write_video(folder, _FPS) as writer,
            ):
                for mask in masks:
                    writer.write(np.repeat(np.uint8(255) * mask[..., None], 3, axis=2))
        files.write_json(_truth_path(job), _record(job.clip, truths), indent=None)


def _record(clip: clips.Clip, truths: list[clips.Truth]) -> dict:
    def rounded(values: list, digits: int) -> list:
        return np.round(np.array(values, float), digits).tolist()

    return {
        **clip._asdict(),
        "landmarks": rounded([truth.landmarks for truth in truths], 4),
        "yaw_pitch_roll": rounded([truth.angles for truth in truths], 2),
        "mouth_opening": rounded([truth.mouth for truth in truths], 4),
        "eye_closure": rounded([truth.eyes for truth in truths], 3),
        "gaze": rounded([truth.gaze for truth in truths], 3),
    }
