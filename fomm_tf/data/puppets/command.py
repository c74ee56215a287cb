"""`python -m fomm_tf.data.puppets`: writes a data set of puppets, or pairs with true animations."""

from __future__ import annotations

import argparse
import pathlib
import re
from collections.abc import Sequence

from fomm_tf import console
from fomm_tf.data.puppets import dataset, transfers

_TEXT = "Draws moving characters to train on: clips in OUT/train and OUT/test, and labels of their joints."
_LAYOUT = """\
output:
  OUT/train/IDENTITY#CLIP/00000.png ...   a clip: a directory of frames, lossless (a video codec would blur limbs of
  OUT/test/IDENTITY#CLIP/00000.png ...    three pixels)
  OUT/labels/{train,test}/IDENTITY#CLIP.npz
      joints [F,J,2] (x, y), -1 and 1 are the centers of the first and last pixel; visible [F,J]; joint_names [J];
      poses [F,P], pose_names [P], identity_seed, motion_seed: everything that determines the clip
  OUT/puppets.json                        the options, and statistics between two frames of a clip: mean motion of a
      joint (fraction of the shorter side), fraction of disoccluded pixels; and the difference of the two most similar
      of at most 1000 identities, in gray levels
  OUT/sheet.png                           contact sheet: six identities, eight frames each
with --transfers N, instead of a data set for training:
  OUT/sources/PAIR.png, OUT/driving/PAIR/ an image, and a clip of another character
  OUT/test/PAIR/                          the character of the image in the poses of the clip: the true animation
  OUT/pairs.csv                           source, driving, truth, for fomm evaluate --data OUT --animate OUT/pairs.csv

No identity and no motion of a test split is in any training split, whatever the --seed. The same command gives the same
bytes. OUT appears when it is complete; an interrupted command leaves nothing.
exit code: 0 done, 2 invalid arguments or a full disk, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the arguments; by default those of the process.

    Returns:
      The exit code.
    """
    return console.run("puppets", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    parser = _parser()
    options = vars(parser.parse_args(argv))
    pairs = options.pop("pairs")
    with parser.options_in_errors():
        if pairs is None:
            print(dataset.write(**options))
        else:
            shared = {name: options[name] for name in ("out", "frames", "size", "seed", "portraits")}
            print(transfers.write(pairs=pairs, **shared))


def _parser() -> console.Parser:
    parser = console.Parser(
        prog="python -m fomm_tf.data.puppets",
        description=_TEXT,
        epilog=_LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--identities", type=int, default=100, metavar="N", help="characters in train (default 100)")
    parser.add_argument(
        "--test-identities", type=int, metavar="N", help="other characters, in test (default a tenth of --identities)"
    )
    parser.add_argument("--clips", type=int, default=4, metavar="M", help="clips of each character (default 4)")
    parser.add_argument("--frames", type=int, default=64, metavar="F", help="frames of each clip (default 64)")
    parser.add_argument(
        "--size", type=_size, default=(64, 64), metavar="HxW", help="frame size: 48x64, or 64 for 64x64 (default)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="random seed of the data set (default 0)")
    parser.add_argument(
        "--amount",
        type=float,
        default=1.0,
        metavar="A",
        help="amount of motion, above 0 and at most 1 (default 1: about 12 %% of the side between two frames)",
    )
    parser.add_argument(
        "--portraits",
        action="store_true",
        help="head and shoulders only, before a static plain wall: easier to learn",
    )
    parser.add_argument(
        "--transfers",
        dest="pairs",
        type=int,
        metavar="N",
        help="draw N pairs of characters with their true animations instead, to evaluate a model; of the other "
        "arguments only --frames, --size, --seed and --portraits are used",
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give HxW, or one number for a square")
    height = int(match[1])
    return height, int(match[2] or height)
