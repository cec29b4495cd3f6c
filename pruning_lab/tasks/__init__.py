"""What `task=...` can be, and how a config becomes an experiment. Beside `__main__` all that knows Hydra."""
