"""What a run leaves behind: history, card, figures, console lines, and the tracking store. Steers nothing."""
