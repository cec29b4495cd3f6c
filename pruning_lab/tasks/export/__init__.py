"""`task=export`: the model of a run as files that run elsewhere, checked, and timed beside its base."""
