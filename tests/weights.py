"""Weights of model files, compared bit by bit."""

import torch

from ddpm_core import checkpoint


def weights_of(path):
    return checkpoint.load_model(path).weights


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)
