"""Settings for all tests."""

import os
import tempfile

import torch

# What the lab remembers between runs of the user must not be what tests left behind, nor the other way round.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="pruning_lab_tests_")

# Tests run side by side on few cores; on networks this small a second thread only waits.
torch.set_num_threads(1)
