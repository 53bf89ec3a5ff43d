# SPDX-License-Identifier: GPL-2.0
"""Where things lie: the clone, its outputs, and the cache that all clones share."""

import os
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
REPO = BENCH.parents[2]
OUT = REPO / "out"
LOG = OUT / "log"
CACHE = Path(os.environ["IMS_CACHE"])
SERIES = (BENCH / "series").read_text().strip()

KERNEL_SRC = os.environ.get("KERNEL_SRC", "")
TOOLCHAIN = os.environ.get("TOOLCHAIN") or "root"
ACCEL = os.environ.get("ACCEL") or "tcg"
CPUS = int(os.environ.get("CPUS") or 2)
VERBOSE = os.environ.get("V") == "1"
KERNELS = (os.environ.get("KERNELS") or "plain").split()
ONLY = os.environ.get("ONLY") or "*"
SOAK = int(os.environ.get("SOAK") or 0)
SEED = int(os.environ.get("SEED") or 0)
CHAOS = int(os.environ.get("CHAOS") or 0)

# The tree that guests get as their root: the build root as bootstrapped, or the host's own.
GUEST_ROOT = os.environ.get("IMS_GUEST_ROOT") or "/"
