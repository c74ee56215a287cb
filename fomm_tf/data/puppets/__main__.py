"""`python -m fomm_tf.data.puppets`."""

import sys

from fomm_tf.data.puppets import command

sys.exit(command.main())
