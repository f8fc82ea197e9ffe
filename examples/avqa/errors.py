"""The one error type that the command line turns into a single line and exit code 2."""


class UserError(Exception):
    """Something the user can mend: the message names what is wrong, where, and the fix, in one line."""
