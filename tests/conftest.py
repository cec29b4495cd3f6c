"""Settings for all tests."""

import torch

# Tests run side by side on few cores; on networks this small a second thread only waits.
torch.set_num_threads(1)
