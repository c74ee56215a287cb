"""`python -m fomm_tf.ablation`."""

import sys

from fomm_tf.ablation import command

sys.exit(command.main())
