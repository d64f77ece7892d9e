"""Recurrent cells, recurrent matrices, scans, tasks and training, for P trials at once.

Dimension letters used throughout: T time steps, P slots of a pack, B sequences in a batch,
I input size, H hidden size, O output size. Needs torch, numpy and safetensors only.
"""
