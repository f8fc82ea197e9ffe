"""Faults that the user can mend."""


class UserError(Exception):
    """What is wrong and what to do about it; the command line shows it as one line and ends with code 2."""
