"""Takes channels out of models, along a record of them. Knows nothing of how it was found."""
