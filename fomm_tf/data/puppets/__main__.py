"""`python -m fomm_tf.data.puppets`: writes a data set of puppets, or pairs with true animations."""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
from collections.abc import Sequence

from fomm_tf import console
from fomm_tf.data.puppets import dataset

_TEXT = "Draws moving characters to train on: clips in OUT/train and OUT/test."
_LAYOUT = """\
output:
  OUT/train/IDENTITY#CLIP/00000.png ...   a clip: a directory of frames, lossless (a video codec would blur limbs of
  OUT/test/IDENTITY#CLIP/00000.png ...    three pixels)
  OUT/puppets.json                        the options
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
            print(dataset.write_transfers(pairs=pairs, **shared))


def _parser() -> console.Parser:
    parser = console.Parser(
        prog="python -m fomm_tf.data.puppets",
        description=_TEXT,
        epilog=_LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=pathlib.Path, required=True, metavar="DIR", help="directory to write")
    add("--identities", type=int, default=100, metavar="N", help="characters in train (default 100)")
    add("--test-identities", type=int, metavar="N", help="other characters, in test (default a tenth of --identities)")
    add("--clips", type=int, default=4, metavar="M", help="clips of each character (default 4)")
    add("--frames", type=int, default=64, metavar="F", help="frames of each clip (default 64)")
    add("--size", type=_size, default=(64, 64), metavar="HxW", help="48x64, or 64 for 64x64 (default 64)")
    add("--seed", type=int, default=0, metavar="K", help="random seed of the data set (default 0)")
    add("--portraits", action="store_true", help="head and shoulders only, in front of a static plain wall")
    add(
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


if __name__ == "__main__":
    sys.exit(main())
