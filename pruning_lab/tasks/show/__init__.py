"""The task `show`: pages of finished runs in a browser, and their models on images that are dropped there."""
