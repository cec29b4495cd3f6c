"""Methods that look at what layers give out or read, without labels."""
