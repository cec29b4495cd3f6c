"""What must hold on a GPU: `python -m pytest tests/gpu -m gpu`, and its figures: `python -m tests.gpu.benchmark`."""
