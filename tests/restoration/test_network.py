"""Weights of every origin, and what is said about those that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from conftest import TINY
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deeprftv2_arch.archs import ATDFKE, DeepRFTv2
from deeprftv2_arch.checkpoints import to_published
from deeprftv2_arch.checkpoints.network_file import load_network_file, save_network_file
from deeprftv2_arch.restoration import network
from deeprftv2_arch.restoration.network import load_network
from deeprftv2_arch.utils.errors import UserError

