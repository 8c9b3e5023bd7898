"""Run a function in two gloo processes, as torchrun would start them."""

from __future__ import annotations

import os
import socket

from torch import distributed, multiprocessing


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def in_two_processes(function, *arguments) -> None:
    multiprocessing.start_processes(_enter, (free_port(), function, *arguments), nprocs=2, start_method='fork')


def _enter(rank: int, port: int, function, *arguments) -> None:
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    distributed.init_process_group('gloo', rank=rank, world_size=2)
    function(rank, *arguments)
    distributed.destroy_process_group()
