"""The exception for a mistake that the user can correct."""


class UserError(Exception):
    """A mistake in a path, a file, an option or a checkpoint.

    The message is complete by itself: it names the file or the key and says what to do. The launchers print it as one
    line without a traceback and exit with code 2.
    """
