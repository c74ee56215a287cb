"""`python train.py`, from the checkout: the same as `fomm train`."""

import sys

from fomm_tf import cli

if __name__ == "__main__":
    sys.exit(cli.main(["train", *sys.argv[1:]]))
