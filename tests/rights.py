"""Rights of files, which root is not held to: the tests that are about them give up root's privilege first."""

from __future__ import annotations

import ctypes
import os
import sys

import pytest

PRIVILEGES = (1, 2, 3)
"""Numbers of CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER in Linux."""

VERSION = 0x20080522
"""Of the structures that Linux hands the capabilities of a process over in."""


class _Header(ctypes.Structure):
    _fields_ = (('version', ctypes.c_uint32), ('pid', ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (('effective', ctypes.c_uint32), ('permitted', ctypes.c_uint32), ('inheritable', ctypes.c_uint32))


def obey_rights() -> None:
    """Have this process, and those that it starts, obey the rights of files like anybody, for good.

    Raises:
        OSError: The system has no capabilities, or does not let them go.
    """
    if os.geteuid() != 0:
        return
    if sys.platform != 'linux':
        raise OSError('root cannot be held to the rights of files here')
    libc = ctypes.CDLL(None, use_errno=True)
    header, capabilities = _Header(VERSION, 0), (_Capabilities * 2)()
    if libc.capget(ctypes.byref(header), capabilities) == 0:
        mask = ~sum(1 << number for number in PRIVILEGES)
        for name in ('effective', 'permitted', 'inheritable'):
            setattr(capabilities[0], name, getattr(capabilities[0], name) & mask)
        # A program that root starts would get back what is not taken from the bounding set.
        drop_from_bounding_set = 24
        bounded = all(libc.prctl(drop_from_bounding_set, number, 0, 0, 0) == 0 for number in PRIVILEGES)
        if bounded and libc.capset(ctypes.byref(header), capabilities) == 0:
            return
    raise OSError(ctypes.get_errno(), f'root keeps its privilege: {os.strerror(ctypes.get_errno())}')


def skip_unless_rights_are_obeyed() -> None:
    """Skip a test, and say why, where `obey_rights` does not work. Tried in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            obey_rights()
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        pytest.skip('root may write everywhere, and cannot give that up here')
