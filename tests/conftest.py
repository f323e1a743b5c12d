"""What all tests share."""

from __future__ import annotations

import os

# One thread: the tests run side by side, and the same thread count gives the same bytes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
