"""`task=evaluate`: the model of a run on a split of its data, or on other images and masks, beside its base."""
