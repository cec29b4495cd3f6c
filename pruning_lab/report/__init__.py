"""Pictures, tables and console lines for people. Reads what a run recorded; never changes or steers a run."""
