"""`python -m fomm_tf.data.people`."""

import sys

from fomm_tf.data.people import command

if __name__ == "__main__":
    sys.exit(command.main())
