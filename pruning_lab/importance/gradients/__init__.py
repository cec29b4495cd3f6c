"""Methods that look at the derivative of the loss."""
