"""Imported for its effect, first: the scripts find the package of their checkout, installed or not.

It opens the standard streams and decides how torch's threads wait, both of which must come before torch is loaded.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hrec.streams import open_streams
from hrec.threads import how_threads_wait

open_streams()
how_threads_wait()
