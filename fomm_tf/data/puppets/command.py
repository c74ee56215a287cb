"""`python -m fomm_tf.data.puppets`: a set of puppets with its labels, as a data root that can be trained on."""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from fomm_tf import console, errors, files, video
from fomm_tf.data.puppets import difficulty, drawing, figure, motion, scene, sheet, transfers, truth
from fomm_tf.data.puppets.identity import Identity, sample_identity

_NAME = "python -m fomm_tf.data.puppets"
_SPLITS = ("train", "test")
_FPS = 25
# Rows of the contact sheet, and identities that are compared with each other.
_ROWS, _COMPARED = 6, 1000

_TEXT = "Draws moving characters to train on: clips in OUT/train and OUT/test, and where their joints are."
_LAYOUT = """\
what is written:
  OUT/train/IDENTITY#CLIP/00000.png ...   a clip: a folder of frames, lossless (a video codec blurs limbs of three
  OUT/test/IDENTITY#CLIP/00000.png ...    pixels), of which a training pair reads two
  OUT/labels/{train,test}/IDENTITY#CLIP.npz
      joints [F,J,2] (x, y), -1 and 1 are the centers of the first and last pixel; visible [F,J]; joint_names [J];
      poses [F,P], pose_names [P], identity_seed, motion_seed: all that a clip is drawn from
  OUT/puppets.json                        how the set was made and how hard it is: between two frames of a clip, how far
      a joint moves (share of the shorter side) and how many pixels are disoccluded; how far the two most alike of (at
      most a thousand) identities are apart, in gray levels
  OUT/sheet.png                           a look at it: six identities, eight moments each
with --transfers N, instead of a set to train on:
  OUT/sources/PAIR.png, OUT/driving/PAIR/ an image, and a clip of somebody else
  OUT/test/PAIR/                          the image's character in the poses of that clip: the true animation
  OUT/pairs.csv                           source, driving, truth, for fomm evaluate --data OUT --animate OUT/pairs.csv

No identity and no motion of a test set is in any training set, whatever the --seed. The same command gives the same
bytes. OUT appears when it is complete; if the command is stopped, nothing is left.
exit code: 0 done, 2 a mistake in the arguments or a full disk, 130 stopped
"""


class Clip(NamedTuple):
    """What one clip is drawn from."""

    split: str
    name: str
    identity_seed: int
    motion_seed: int


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the arguments; default those of the process.

    Returns:
      The exit code.
    """
    return console.run("puppets", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    options = vars(_parser().parse_args(argv))
    out, transfers_wanted = options.pop("out"), options.pop("transfers")
    if transfers_wanted is None:
        print(write(out, **options))
        return
    _check_free(out)
    shared = {name: options[name] for name in ("frames", "seed", "portraits")}
    print(transfers.write(out, transfers_wanted, size=scene.check_size(options["size"]), **shared))


def write(
    out: pathlib.Path,
    identities: int,
    clips: int,
    frames: int,
    size: tuple[int, int],
    seed: int,
    test_identities: int | None = None,
    amount: float = 1.0,
    portraits: bool = False,
) -> str:
    """Writes a set.

    Args:
      out: folder to make; it may exist if it is empty.
      identities: how many in train.
      clips: of each identity.
      frames: of each clip, at least 2.
      size: `(H, W)`.
      seed: another one is another set.
      test_identities: how many in test; default a tenth of those in train, at least one.
      amount: of motion, see `sample_motion`.
      portraits: head and shoulders only, before plain walls: easier to learn.

    Returns:
      A line that says what was written.

    Raises:
      UserError: if there is something at `out`, an argument will not do or the disk is full.
    """
    size = scene.check_size(size)
    test_identities = max(1, round(identities / 10)) if test_identities is None else test_identities
    for name, value, least in (
        ("identities", identities, 1),
        ("test-identities", test_identities, 1),
        ("clips", clips, 1),
        ("frames", frames, 2),
        ("seed", seed, 0),
    ):
        if value < least:
            raise errors.UserError(f"--{name} is {value}; give at least {least}.")
    if not 0 < amount <= 1:
        raise errors.UserError(f"--amount is {amount:g}; give a number above 0, at most 1.")
    _check_free(out)

    counts = dict(zip(_SPLITS, (identities, test_identities), strict=True))
    plans = list(plan(seed, counts, clips))
    seeds = dict.fromkeys(clip.identity_seed for clip in plans)
    measured: dict[str, list[difficulty.Difficulty]] = {split: [] for split in _SPLITS}
    with (
        files.replace_atomically(out) as folder,
        tqdm.tqdm(total=len(plans) * frames, unit="frame", disable=None) as bar,
    ):
        for clip in plans:
            measured[clip.split].append(_write_clip(folder, clip, frames, size, amount, portraits, bar))
        means = {split: difficulty.Difficulty(*np.mean(values, axis=0)) for split, values in measured.items()}
        record = {
            "identities": identities,
            "test_identities": test_identities,
            "clips": clips,
            "frames": frames,
            "size": list(size),
            "seed": seed,
            "amount": amount,
            "portraits": portraits,
            "mean_motion": {split: round(mean.motion, 4) for split, mean in means.items()},
            "disoccluded": {split: round(mean.disoccluded, 4) for split, mean in means.items()},
            "nearest_identities": round(
                difficulty.measure_nearest(map(sample_identity, itertools.islice(seeds, _COMPARED))), 2
            ),
        }
        (folder / "puppets.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shown = (_sample(clip, frames, amount, portraits) for clip in plans[::clips][:_ROWS])
        video.write_image(folder / "sheet.png", sheet.draw_sheet(shown))
    motion_share, hidden_share = (100 * share for share in means["train"])
    return (
        f"{out}: {identities * clips} clips of {identities} identities in train, {test_identities * clips} of "
        f"{test_identities} others in test, {frames} frames of {size[0]}x{size[1]} each; between two frames of a clip "
        f"a joint moves by {motion_share:.1f} % of the side and {hidden_share:.1f} % of the pixels are disoccluded"
    )


def plan(seed: int, counts: dict[str, int], clips: int) -> Iterator[Clip]:
    """The clips of a set.

    All seeds of train are even and all of test odd: whatever `seed` is, the two share nothing.

    Args:
      seed: of the set.
      counts: identities of each split.
      clips: of each identity.
    """
    first = 0
    for parity, (split, count) in enumerate(counts.items()):
        for index in range(count):
            who, *moves = np.random.SeedSequence([seed, parity, index]).generate_state(1 + clips, np.uint64).tolist()
            for number, moved in enumerate(moves):
                yield Clip(
                    split, f"{first + index:05d}#{number:03d}", who - who % 2 + parity, moved - moved % 2 + parity
                )
        first += count


def _check_free(out: pathlib.Path) -> None:
    if out.exists() and not out.is_dir():
        raise errors.UserError(f"{out} is a file; name a folder.")
    if out.is_dir() and any(out.iterdir()):
        raise errors.UserError(f"{out} is not empty; name a new folder, or remove it first.")


def _sample(clip: Clip, frames: int, amount: float, portraits: bool) -> tuple[Identity, list[motion.Pose]]:
    poses = motion.sample_motion(clip.motion_seed, frames, amount, portraits)
    return sample_identity(clip.identity_seed, portraits), poses


def _write_clip(
    folder: pathlib.Path,
    clip: Clip,
    frames: int,
    size: tuple[int, int],
    amount: float,
    portraits: bool,
    bar: tqdm.tqdm,
) -> difficulty.Difficulty:
    identity, poses = _sample(clip, frames, amount, portraits)
    with video.write_video(folder / clip.split / clip.name, _FPS) as writer:
        for pose in poses:
            writer.write(drawing.draw(identity, pose, size))
            bar.update()
    labels = [truth.label(identity, pose, size) for pose in poses]
    target = folder / "labels" / clip.split
    target.mkdir(parents=True, exist_ok=True)
    np.savez(
        target / f"{clip.name}.npz",
        joints=np.stack([one.value for one in labels]),
        visible=np.stack([one.visible for one in labels]),
        joint_names=np.array(figure.JOINTS),
        poses=np.array(poses),
        pose_names=np.array(motion.Pose._fields),
        identity_seed=np.uint64(clip.identity_seed),
        motion_seed=np.uint64(clip.motion_seed),
    )
    return difficulty.measure_clip(identity, poses, size, clip.motion_seed)


def _parser() -> console.Parser:
    parser = console.Parser(
        prog=_NAME, description=_TEXT, epilog=_LAYOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--identities", type=int, default=100, metavar="N", help="characters in train (default 100)")
    parser.add_argument(
        "--test-identities", type=int, metavar="N", help="others, in test (default a tenth of --identities)"
    )
    parser.add_argument("--clips", type=int, default=4, metavar="M", help="clips of each character (default 4)")
    parser.add_argument("--frames", type=int, default=64, metavar="F", help="frames of each clip (default 64)")
    parser.add_argument(
        "--size", type=_size, default=(64, 64), metavar="HxW", help="of the frames: 48x64, or 64 for 64x64 (default)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="another one is another set (default 0)")
    parser.add_argument(
        "--amount",
        type=float,
        default=1.0,
        metavar="A",
        help="of motion, above 0 to 1 (default 1: about 12 %% of the side between two frames)",
    )
    parser.add_argument(
        "--portraits",
        action="store_true",
        help="head and shoulders only, before plain walls that keep still: easier to learn",
    )
    parser.add_argument(
        "--transfers",
        type=int,
        metavar="N",
        help="draw N pairs of characters with their true animations instead, to judge a model by; of the other "
        "arguments --frames, --size, --seed and --portraits count",
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give HxW, or one number for a square")
    height = int(match[1])
    return height, int(match[2] or height)
