"""The kinds of attention that a frontier-mini model can be trained with: a file and a line each.

A file has a class Attention (attention.py) that says how rows attend, in training, and what config.json then says, so that
Frontier computes the same.
"""
import importlib

KINDS = ["softmax", "entmax15", "asentmax", "window", "moba", "dms", "sparsek", "spattention", "nsa", "dsa_warm", "dsa"]


def kind(name):
    return importlib.import_module("kinds." + name).Attention
