"""What every room may use: the error that a user can mend, files, and small things about modules."""
