"""`python -m fomm_tf.data.people`: writes a data set of rendered people, or pairs with true animations."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from fomm_tf import console, workers
from fomm_tf.data.people import dataset, scene

_NAME = "python -m fomm_tf.data.people"
_TEXT = "Renders people who turn, speak, blink, and look around: clips in OUT/train and OUT/test, and ground truth."
_LAYOUT = """\
output:
  OUT/train/IDENTITY#CLIP/00000.png ...   a clip: a directory of frames
  OUT/test/IDENTITY#CLIP/00000.png ...    other people, other motions, other scenes
  OUT/masks/SPLIT/IDENTITY#CLIP/ ...      with --masks: white where the face is visible
  OUT/people.json                         ground truth of each clip: landmarks (x, y) of each frame, -1 and 1 are the
      centers of the first and last pixel; the head's yaw, pitch, roll in degrees; mouth opening; eye closure; gaze;
      framing and seeds. It appears when the set is complete. OUT/truth/ has the same, one file per clip.
with --transfers N, instead of a data set for training:
  OUT/sources/PAIR.png, OUT/driving/PAIR/ an image, and a clip of another person
  OUT/test/PAIR/, OUT/masks/test/PAIR/    the image's person with that motion: the true animation
  OUT/pairs.csv                           source, driving, truth, for fomm evaluate --data OUT --animate OUT/pairs.csv

The same command gives the same bytes. A clip depends on --seed and its number only: more identities do not change the
first ones. After an interruption, run the command again: finished clips are kept. No identity and no motion of a test
split is in any training split, whatever the --seed.
exit code: 0 done, 2 invalid arguments or a full disk, 130 interrupted
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
    parser = _parser()
    options = parser.parse_args(argv)
    with parser.options_in_errors():
        print(dataset.write(**vars(options)))


def _parser() -> console.Parser:
    parser = console.Parser(
        prog=_NAME, description=_TEXT, epilog=_LAYOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=pathlib.Path, required=True, metavar="DIR", help="directory to write, or to continue")
    add("--identities", type=int, default=100, metavar="N", help="people in train (default 100)")
    add("--test-identities", type=int, metavar="N", help="other people, in test (default a tenth of --identities)")
    add("--clips-per-identity", "--clips", type=int, default=1, metavar="M", help="clips per person (default 1)")
    add("--frames", type=int, default=64, metavar="F", help="frames per clip (default 64)")
    add("--frame-step", type=int, default=1, metavar="S",
        help="25ths of a second from one frame to the next (default 1); "
        "5 spreads few frames over much motion")  # fmt: skip
    add("--size", type=int, default=64, metavar="PIXELS", help="side of the square frames (default 64)")
    add("--seed", type=int, default=0, metavar="K", help="random seed of the data set (default 0)")
    add("--framing", nargs="+", choices=scene.FRAMINGS, default=["talking"],
        help="what a frame shows; several alternate between clips (default talking)")  # fmt: skip
    add("--amount", type=float, default=1.0, metavar="A", help="of head and body motion, above 0 to 1 (default 1)")
    add("--masks", action="store_true", help="also write masks of the faces")
    add("--transfers", type=int, metavar="N",
        help="write N pairs of people with their true animations instead, to evaluate a model")  # fmt: skip
    add("--processes", type=int, default=workers.available_cores(), metavar="P",
        help="clips to draw in parallel (default one per core)")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
