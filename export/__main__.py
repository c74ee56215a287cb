"""`python -m export`, from the checkout: the same as `fomm export`."""

import sys

from fomm_tf import cli

sys.exit(cli.main(["export", *sys.argv[1:]]))
