"""`python -m fomm_tf.data.people`: a set of rendered people, as a data root that can be trained on."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np

from fomm_tf import console, errors, workers
from fomm_tf.data.people import clips, scene, writing
from fomm_tf.data.people import transfers as transfer_pairs

_NAME = "python -m fomm_tf.data.people"
_SPLITS = ("train", "test")
_TEXT = "Renders people who turn, speak, blink, and look around: clips in OUT/train and OUT/test, and the truth."
_LAYOUT = """\
what is written:
  OUT/train/IDENTITY#CLIP/00000.png ...   a clip: a folder of frames
  OUT/test/IDENTITY#CLIP/00000.png ...    other people, other motions, other scenes
  OUT/masks/SPLIT/IDENTITY#CLIP/ ...      with --masks: white where the face is
  OUT/people.json                         the truth about each clip: landmarks (x, y) of each frame, -1 and 1 are the
      centers of the first and last pixel; the head's yaw, pitch, roll in degrees; mouth opening; eye closure; gaze;
      framing and seeds. It appears when the set is complete. OUT/truth/ has the same, a file for each clip.
with --transfers N, instead of a set to train on:
  OUT/sources/PAIR.png, OUT/driving/PAIR/ an image, and a clip of somebody else
  OUT/test/PAIR/, OUT/masks/test/PAIR/    the image's person with that motion: the true animation
  OUT/pairs.csv                           source, driving, truth, for fomm evaluate --data OUT --animate OUT/pairs.csv

The same command gives the same bytes. A clip depends on --seed and its place alone, not on the others: with more
identities, the first ones stay as they are. If the command is stopped, run it again: finished clips are kept.
No identity and no motion of a test set is in any training set, whatever the --seed.
exit code: 0 done, 2 a mistake in the arguments or a full disk, 130 stopped
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the arguments; default those of the process.

    Returns:
      The exit code.
    """
    return console.run("people", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    options = _parser().parse_args(argv)
    least = {"identities": 1, "test_identities": 0, "clips_per_identity": 1, "frames": 2, "frame_step": 1, "seed": 0,
             "size": clips.LEAST_SIDE, "processes": 1, "transfers": 1}  # fmt: skip
    if options.test_identities is None:
        options.test_identities = max(1, round(options.identities / 10))
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and value < bound:
            raise errors.UserError(f"--{name.replace('_', '-')} must be at least {bound}; got {value}.")
    if not 0 < options.amount <= 1:
        raise errors.UserError(f"--amount must be above 0 and at most 1; got {options.amount:g}.")
    print(write(**vars(options)))


def write(
    out: pathlib.Path,
    identities: int,
    test_identities: int,
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
      out: folder: new, empty, or of a run with the same options that was stopped.
      identities: people in train.
      test_identities: people in test.
      clips_per_identity: clips of each.
      frames: of each clip, at least 2.
      frame_step: 25ths of a second from one frame to the next.
      size: side of the frames in pixels.
      seed: another one is another set.
      framing: of `scene.FRAMINGS`, taken in turn.
      amount: of head and body motion, above 0 to 1.
      masks: write the face's masks.
      transfers: write so many pairs with their true animations instead.
      processes: that draw at once; the result does not depend on it.

    Returns:
      A line that says what was written.

    Raises:
      UserError: if something else is at `out`, or the disk is full.
    """
    template = clips.Clip(0, 0, 0, frames=frames, step=frame_step, size=size, amount=amount)
    options = {"frames": frames, "frame_step": frame_step, "size": size, "seed": seed, "framing": list(framing),
               "amount": amount}  # fmt: skip
    if transfers is None:
        options |= {"identities": identities, "test_identities": test_identities, "masks": masks,
                    "clips_per_identity": clips_per_identity}  # fmt: skip
        jobs = plan(out, (identities, test_identities), clips_per_identity, seed, template, framing, masks)
        content = (
            f"{identities * clips_per_identity} clips of {identities} people in train, "
            f"{test_identities * clips_per_identity} of {test_identities} others in test"
        )
    else:
        options |= {"transfers": transfers}
        jobs = transfer_pairs.plan(out, transfers, seed, template, framing)
        content = f"{transfers} pairs with their true animations"
    writing.open_set(out, options)
    drawn = writing.write_clips(jobs, processes)
    if transfers is not None:
        transfer_pairs.write_pairs(out, transfers)
    writing.write_truth(jobs, out, options)
    return f"{out}: {content}, {frames} frames of {size}x{size} each; {drawn} of {len(jobs)} clips drawn in this run"


def plan(
    out: pathlib.Path,
    counts: tuple[int, int],
    clips_per_identity: int,
    seed: int,
    template: clips.Clip,
    framings: Sequence[str],
    masks: bool = False,
) -> list[writing.Job]:
    """The clips of a set; all seeds of train are even and all of test odd, so that the two share nothing.

    Args:
      out: folder of the set.
      counts: people in train and in test.
      clips_per_identity: clips of each.
      seed: of the set.
      template: frames, step, size, and amount of all clips.
      framings: taken in turn, within an identity.
      masks: write the face's masks.
    """
    jobs = []
    for parity, (split, count) in enumerate(zip(_SPLITS, counts, strict=True)):
        for index in range(count):
            who = _seed(seed, parity, index, 0)
            for number in range(clips_per_identity):
                moved, place = (_seed(seed, parity, index, 1 + number, kind) for kind in range(2))
                clip = template._replace(
                    identity_seed=who, motion_seed=moved, scene_seed=place,
                    framing=framings[(index + number) % len(framings)],
                )  # fmt: skip
                # Names of test do not repeat those of train.
                name = f"{split}/{'' if not parity else 't'}{index:05d}#{number:03d}"
                jobs.append(writing.Job(out, name, clip, masks))
    return jobs


def _seed(seed: int, parity: int, *place: int) -> int:
    value = int(np.random.SeedSequence([seed, parity, *place]).generate_state(1, np.uint64)[0]) >> 12
    return value - value % 2 + parity


def _parser() -> console.Parser:
    parser = console.Parser(
        prog=_NAME, description=_TEXT, epilog=_LAYOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=pathlib.Path, required=True, metavar="DIR", help="folder to make, or to continue")
    add("--identities", type=int, default=100, metavar="N", help="people in train (default 100)")
    add("--test-identities", type=int, metavar="N", help="others, in test (default a tenth of --identities)")
    add("--clips-per-identity", "--clips", type=int, default=1, metavar="M", help="clips of each person (default 1)")
    add("--frames", type=int, default=64, metavar="F", help="frames of each clip (default 64)")
    add("--frame-step", type=int, default=1, metavar="S",
        help="25ths of a second from one frame to the next (default 1); "
        "5 spreads few frames over a lively motion")  # fmt: skip
    add("--size", type=int, default=64, metavar="PIXELS", help="side of the square frames (default 64)")
    add("--seed", type=int, default=0, metavar="K", help="another one is another set (default 0)")
    add("--framing", nargs="+", choices=scene.FRAMINGS, default=["talking"],
        help="what the frame shows; several are taken in turn (default talking)")  # fmt: skip
    add("--amount", type=float, default=1.0, metavar="A", help="of head and body motion, above 0 to 1 (default 1)")
    add("--masks", action="store_true", help="write the face's masks too")
    add("--transfers", type=int, metavar="N",
        help="write N pairs of people with their true animations instead, to evaluate a model with")  # fmt: skip
    add("--processes", type=int, default=workers.available_cores(), metavar="P",
        help="that draw at once (default one for each core)")  # fmt: skip
    return parser
