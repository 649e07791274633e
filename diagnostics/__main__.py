"""``python -m diagnostics SPEC``."""

import sys

from diagnostics.cli import main

sys.exit(main())
