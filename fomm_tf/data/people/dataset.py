"""Writes sets of rendered people: clips with their truth to train on, or pairs with true animations to evaluate on.

A clip's directory of frames appears last and complete, so that an interrupted set continues with the clips that are
missing. `plan.json` holds the options; a set does not continue with other options.

Seeds are even in train and odd in test, so that the splits have nothing in common, whatever the seed of the set is. The
truth of a pair is the source's person in the motion of the driving person, in the source's own scene; the camera does
not move.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fomm_tf import errors, files, video, workers
from fomm_tf.data import layout
from fomm_tf.data.people import rendering, shots

PLAN, TRUTH, PAIRS = "plan.json", "people.json", "pairs.csv"
_FPS = 25


class Job(NamedTuple):
    """A clip to write."""

    folder: pathlib.Path  # directory of the set
    name: str  # of the clip below it: `train/00003#001`
    clip: shots.Clip  # its parameters
    masks: bool = False  # also write the face's masks to `masks/NAME`
    still: str = ""  # where to write the first frame as an image, below `folder`; empty for nowhere


def write(
    out: pathlib.Path,
    identities: int,
    test_identities: int | None,
    clips_per_identity: int,
    frames: int,
    frame_step: int,
    size: int,
    seed: int,
    framing: Sequence[str] = ("talking",),
    amount: float = 1.0,
    masks: bool = False,
    transfers: int | None = None,
    processes: int = 1,
) -> str:
    """Writes a set, or continues one.

    Args:
      out: directory: new, empty, or of an interrupted run with the same options.
      identities: number of people in train.
      test_identities: number of people in test; None for a tenth of `identities`, at least one.
      clips_per_identity: number of clips per person.
      frames: number of frames per clip, at least 2.
      frame_step: 25ths of a second between frames.
      size: side of the frames in pixels.
      seed: of the set.
      framing: of `scene.FRAMINGS`; several alternate between clips.
      amount: of head and body motion, above 0 and at most 1.
      masks: also write masks of the faces.
      transfers: write this many pairs with their true animations instead.
      processes: number of clips to draw in parallel; the result does not depend on it.

    Returns:
      A one-line summary.

    Raises:
      UserError: if an argument is invalid, `out` holds something else, or the disk is full.
    """
    test_identities = max(1, round(identities / 10)) if test_identities is None else test_identities
    for name, value, minimum in (
        ("identities", identities, 1), ("test_identities", test_identities, 0), ("frames", frames, 2),
        ("clips_per_identity", clips_per_identity, 1), ("frame_step", frame_step, 1), ("seed", seed, 0),
        ("size", size, shots.MIN_SIDE), ("processes", processes, 1), ("transfers", transfers, 1),
    ):  # fmt: skip
        if value is not None and value < minimum:
            raise errors.UserError(f"`{name}` must be at least {minimum}; got {value}.")
    if not 0 < amount <= 1:
        raise errors.UserError(f"`amount` must be above 0 and at most 1; got {amount:g}.")
    template = shots.Clip(0, 0, 0, frames=frames, step=frame_step, size=size, amount=amount)
    options = {"frames": frames, "frame_step": frame_step, "size": size, "seed": seed, "framing": list(framing),
               "amount": amount}  # fmt: skip
    if transfers is None:
        options |= {"identities": identities, "test_identities": test_identities, "masks": masks,
                    "clips_per_identity": clips_per_identity}  # fmt: skip
        jobs = _plan(out, (identities, test_identities), clips_per_identity, seed, template, framing, masks)
        content = (
            f"{identities * clips_per_identity} clips of {identities} people in train, "
            f"{test_identities * clips_per_identity} of {test_identities} others in test"
        )
    else:
        options |= {"transfers": transfers}
        jobs = _plan_pairs(out, transfers, seed, template, framing)
        content = f"{transfers} pairs with their true animations"
    _open_set(out, options)
    drawn = _write_clips(jobs, processes)
    if transfers is not None:
        rows = ([f"sources/{index:05d}.png", f"driving/{index:05d}", f"test/{index:05d}"] for index in range(transfers))
        files.write_csv(out / PAIRS, ["source", "driving", "truth"], rows)
    _write_truth(jobs, out, options)
    return f"{out}: {content}, {frames} frames of {size}x{size} each; {drawn} of {len(jobs)} clips drawn in this run"


def _plan(
    out: pathlib.Path,
    counts: tuple[int, int],
    clips_per_identity: int,
    seed: int,
    template: shots.Clip,
    framings: Sequence[str],
    masks: bool = False,
) -> list[Job]:
    """The clips of a set; `counts` are the people in train and in test, `template` has what all clips share."""
    jobs = []
    for parity, (split, count) in enumerate(zip(layout.SPLITS, counts, strict=True)):
        for index in range(count):
            identity = _seed(seed, parity, index, 0)
            for number in range(clips_per_identity):
                motion, place = (_seed(seed, parity, index, 1 + number, kind) for kind in range(2))
                clip = template._replace(
                    identity_seed=identity, motion_seed=motion, scene_seed=place,
                    framing=framings[(index + number) % len(framings)],
                )  # fmt: skip
                # Names of test do not repeat those of train.
                name = f"{split}/{'' if not parity else 't'}{index:05d}#{number:03d}"
                jobs.append(Job(out, name, clip, masks))
    return jobs


def _seed(seed: int, parity: int, *place: int) -> int:
    value = int(np.random.SeedSequence([seed, parity, *place]).generate_state(1, np.uint64)[0]) >> 12
    return value - value % 2 + parity


def _plan_pairs(out: pathlib.Path, count: int, seed: int, template: shots.Clip, framings: list[str]) -> list[Job]:
    """The true animation and the driving clip of each pair; `template` has what all clips share."""
    jobs = []
    for index in range(count):
        seeds = np.random.SeedSequence([seed, 2, index]).generate_state(5)
        source, driving, motion, source_scene, driving_scene = (2 * int(value) + 1 for value in seeds)
        clip = template._replace(motion_seed=motion, framing=framings[index % len(framings)], still=True)
        truth = clip._replace(identity_seed=source, scene_seed=source_scene)
        jobs.append(Job(out, f"test/{index:05d}", truth, masks=True, still=f"sources/{index:05d}.png"))
        jobs.append(Job(out, f"driving/{index:05d}", clip._replace(identity_seed=driving, scene_seed=driving_scene)))
    return jobs


def _open_set(folder: pathlib.Path, options: dict) -> None:
    """Starts or continues a set."""
    if folder.exists() and not folder.is_dir():
        raise errors.UserError(f"`out` {folder} is a file; give a directory.")
    plan = folder / PLAN
    if plan.is_file():
        before = json.loads(plan.read_text(encoding="utf-8"))
        changed = [name for name in options if options[name] != before.get(name)]
        if changed:
            raise errors.UserError(
                f"`out` {folder} holds a set with other options ({', '.join(changed)}); give a new directory, or the "
                f"options in {plan}."
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise errors.UserError(f"`out` {folder} is not empty; give a new directory, or delete it first.")
    files.write_json(plan, options)


def _write_clips(jobs: list[Job], processes: int) -> int:
    """Draws the clips that do not exist yet, with a progress bar on a terminal; returns their number."""
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


def _write_truth(jobs: Iterable[Job], folder: pathlib.Path, options: dict) -> None:
    """Collects the ground truth of all clips in `people.json`."""
    records = {job.name: json.loads(_truth_path(job).read_text(encoding="utf-8")) for job in jobs}
    document = {"options": options, "landmark_names": rendering.landmark_names(), "clips": records}
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
            for number, frame in enumerate(rendering.render(job.clip)):
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


def _record(clip: shots.Clip, truths: list[rendering.Truth]) -> dict:
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
