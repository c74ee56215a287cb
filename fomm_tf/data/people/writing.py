"""Writes clips with many processes: finished clips are kept, so that a run that was stopped can be continued.

A clip's folder of frames appears last and whole; a clip is finished when it is there. `plan.json` holds the options: a
run with other options does not continue into the same folder.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import console, errors, video
from fomm_tf.data.people import clips
from fomm_tf.video import files

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
    with files.replacing(plan) as temporary:
        temporary.write_text(json.dumps(options, indent=1) + "\n", encoding="utf-8")


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
    with tqdm.tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="clip", smoothing=0.05, disable=None) as bar:
        if processes == 1 or len(missing) < 2:
            for job in missing:
                _write(job)
                bar.update()
        else:
            # Spawned, not forked: OpenCV and BLAS have threads that a fork does not copy.
            with multiprocessing.get_context("spawn").Pool(processes, _begin) as pool:
                for _ in pool.imap_unordered(_write, missing):
                    bar.update()
    return len(missing)


def write_truth(jobs: Iterable[Job], folder: pathlib.Path, options: dict) -> None:
    """Collects what is known about all clips in `people.json`."""
    records = {job.name: json.loads(_truth_path(job).read_text(encoding="utf-8")) for job in jobs}
    document = {"options": options, "landmark_names": clips.landmark_names(), "clips": records}
    with files.replacing(folder / TRUTH) as temporary:
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")


def _begin() -> None:
    from fomm_tf.opencv import cv2

    cv2.setNumThreads(1)
    console.begin_worker()


def _truth_path(job: Job) -> pathlib.Path:
    return job.folder / "truth" / f"{job.name}.json"


def _write(job: Job) -> None:
    truths, masks = [], []
    with files.replacing(job.folder / job.name) as temporary:
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
            with files.replacing(job.folder / "masks" / job.name) as folder, video.write_video(folder, _FPS) as writer:
                for mask in masks:
                    writer.write(np.repeat(np.uint8(255) * mask[..., None], 3, axis=2))
        with files.replacing(_truth_path(job)) as path:
            path.write_text(json.dumps(_record(job.clip, truths)) + "\n", encoding="utf-8")


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


def default_processes() -> int:
    """One process for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
