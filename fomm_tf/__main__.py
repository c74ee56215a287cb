"""`python -m fomm_tf` is `fomm`."""

import sys

from fomm_tf import cli

sys.exit(cli.main())
