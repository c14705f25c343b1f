"""`benchmarks` is a folder of the checkout, not of the installed package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
