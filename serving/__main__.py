"""`python -m serving`, from the checkout: the same as `fomm serve`."""

import sys

from fomm_tf import cli

sys.exit(cli.main(["serve", *sys.argv[1:]]))
