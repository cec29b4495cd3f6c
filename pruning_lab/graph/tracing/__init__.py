"""From a live model to labels: what its operators say of its channels."""
