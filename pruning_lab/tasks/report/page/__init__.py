"""The page of a comparison: one HTML file that opens without a network."""
