"""The data loaders' form of a user's mistake."""

from __future__ import annotations

from deeprftv2_arch.utils.errors import UserError


class DataError(UserError):
    """A file or an entry of a data set that cannot be used.

    A loader's worker process hands an exception on as the text of its traceback, from which PyTorch makes a new
    exception of the same class. This class picks its own message out of that text again, so that the user reads one
    message and no traceback, whichever process met the file.
    """

    def __init__(self, message: str) -> None:
        _, _, own = message.rpartition(f'{type(self).__module__}.{type(self).__qualname__}: ')
        super().__init__(own.strip())
