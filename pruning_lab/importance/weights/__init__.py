"""Methods that look at weights alone."""
