"""The one error type that the command line turns into a single line and exit code 2, and what else is told so."""

from __future__ import annotations

import errno
import sys
import traceback

_MENDS = {
    errno.ENOSPC: "the disk is full: free some space, or name a folder on another one",
    errno.EDQUOT: "the quota is used up: free some space, or name a folder on another disk",
    errno.EFBIG: "no file may be as large here: see ulimit -f, or name a folder on another disk",
    errno.EROFS: "it may only be read: name another folder",
    errno.EACCES: "change its permissions, or name another folder",
    errno.EPERM: "change its permissions, or name another folder",
    errno.EMFILE: "too many files are open: see ulimit -n",
    errno.ENOMEM: "free some memory, or use smaller batches and fewer workers",
}
_NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""What torch says in a RuntimeError: the CPU's allocator, CUDA, its libraries."""

LONGEST = 1200
"""Characters of a message: files may hold values of any length."""
_BEGINNING = 800


class UserError(Exception):
    """Something the user can mend: the message names what is wrong, where, and the fix, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def told(error: BaseException) -> str | None:
    """The line for an error that is the user's or the machine's; None for one of this program."""
    if isinstance(error, UserError):
        text = str(error)
    elif is_out_of_memory(error):
        # The first line says how much was wanted; what follows is about the allocator.
        said = next(iter(str(error).splitlines()), "")
        said = f" ({said})" if said else ""
        text = (
            f"out of memory{said}; give smaller batches (data.clips_per_batch, data.eval_clips_per_batch), fewer "
            "workers or jobs, or end other programs"
        )
    elif is_dead_worker(error):
        text = (
            "a process that reads batches died, perhaps for lack of memory or of shared memory (/dev/shm); give fewer "
            "data.workers, or 0"
        )
    elif isinstance(error, OSError):
        # The message names the file.
        mend = _MENDS.get(error.errno or 0)
        text = f"{error}; {mend}" if mend else str(error) or type(error).__name__
    else:
        return None
    return one_line(" ".join(text.splitlines()))


def is_dead_worker(error: BaseException | None) -> bool:
    """Whether a process that reads batches died: said at any moment, also while another error was on its way."""
    said = [str(each) for each in _all(error) if isinstance(each, RuntimeError)]
    return any(text.startswith("DataLoader worker (pid") for text in said)


def _all(error: BaseException | None) -> list[BaseException]:
    """An error and those that it came from, as a traceback shows them."""
    found = list[BaseException]()
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def forget_frames(error: BaseException) -> None:
    """Frees what the frames of an error hold. What is half made there may fail as it is destroyed, and says nothing."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        for each in _all(error):
            traceback.clear_frames(each.__traceback__)
    finally:
        sys.unraisablehook = hook


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was not enough, of this machine or of a device."""
    # torch.OutOfMemoryError is a RuntimeError, and need not be imported for this.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)
    )


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
