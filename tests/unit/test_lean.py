"""What is kept out of a worker."""

import subprocess
import sys

PROGRAM = """
import sys
from playlake.lean import lean
with lean():
    import pyarrow
    pyarrow.array([1, 2])
    print("pandas" in sys.modules)
import pandas
print("pandas" in sys.modules)
"""


def test_pandas_stays_out_only_while_it_is_not_wanted():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert ("", ["False", "True"]) == (done.stderr, done.stdout.split())
