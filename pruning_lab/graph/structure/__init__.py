"""Plain records of a network's channels. Nothing here reads, cuts or runs a model."""
