"""The one exception that means "the user can mend this": its text is a single line that says what and how."""


class LabError(Exception):
    """A user's mistake. The message names the key, file or layer, and what to do about it.

    The command line prints the message alone, without a traceback.
    """
