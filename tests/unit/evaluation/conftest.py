import sys
from pathlib import Path

# The fake results live beside the tests of the schema they fill.
sys.path.insert(0, str(Path(__file__).parents[1] / "results"))
