"""Methods that are there to be beaten."""
