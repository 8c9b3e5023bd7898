"""Our networks for programs that load networks with the library spandrel. Needs the extra `[spandrel]`."""

from __future__ import annotations

from deeprftv2_arch.spandrel.architectures import install

__all__ = ['install']
