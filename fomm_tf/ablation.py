"""`python -m fomm_tf.ablation`: the same as `fomm ablation`."""

import sys

from fomm_tf import cli

if __name__ == "__main__":
    sys.exit(cli.main(["ablation", *sys.argv[1:]]))
