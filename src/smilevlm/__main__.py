"""`python -m smilevlm` is the command line."""

import sys

from smilevlm.cli import main

sys.exit(main())
