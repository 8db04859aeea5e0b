"""Inverted dropout as a function: wrong numbers, wrong modes, wrong gradients, and right styles."""

from __future__ import annotations

import torch

from tests.zoo.species import Enclosure

ZOO = Enclosure("inverted_dropout")


@ZOO.mutant("no-scaling", author="Knows that units are zeroed, has not heard of the scale.")
def no_scaling(x, p=0.5, training=True):
    if not training:
        return x
    return x * (torch.rand(x.shape, device=x.device) >= p)


@ZOO.mutant("rate-off", author="Took 0.01 off while debugging and left it in.")
def rate_a_little_off(x, p=0.5, training=True):
    if not training:
        return x
    if p == 1:
        return x * 0
    return x * (torch.rand(x.shape, device=x.device) >= p - 0.01) / (1 - p)


@ZOO.style("keep where a uniform number is below 1 - p")
def rand_below_keep(x, p=0.5, training=True):
    if not training:
        return x
    if p == 1:
        return x * 0
    return x * (torch.rand(x.shape, device=x.device) < 1 - p) / (1 - p)
