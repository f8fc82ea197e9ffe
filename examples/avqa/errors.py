"""The one error type that the command line turns into a single line and exit code 2."""

LONGEST = 1200
"""Characters of a message: files may hold values of any length."""
_BEGINNING = 800


class UserError(Exception):
    """Something the user can mend: the message names what is wrong, where, and the fix, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    r"""Text as one line that can be printed: line ends and control characters escaped, a very long middle left out.

    >>> one_line("a\nb")
    'a\\nb'
    """
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    if len(text) > LONGEST:
        text = f"{text[:_BEGINNING]} ... {text[_BEGINNING + 5 - LONGEST :]}"
    return text
