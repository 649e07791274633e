"""In a checkout: loads the plugin where it is not installed. An editable install has it already, under the same name."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "diagnostics" / "entry"))
pytest_plugins = ["pytest_diagnostics"]
# The checks are no test functions of pytest's own: the plugin collects them where they are asked for (`pytest diagnostics`).
collect_ignore = ["diagnostics"]
