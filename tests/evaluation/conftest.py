"""Fixtures of this folder."""

from deblur_models import batch, make_model, one_thread, train_for

__all__ = ['batch', 'make_model', 'one_thread', 'train_for']
