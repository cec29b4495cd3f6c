"""A search over settings with Optuna: its space, its study on disk, the sweeper, and the giving up of hopeless runs."""
