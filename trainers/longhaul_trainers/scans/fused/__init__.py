"""Scans in Triton, for CUDA devices: all steps of a scan are one kernel.

A loop of steps launches thousands of small kernels an iteration, and one small trial is bound by
that. Here a program takes some rows of one slot's batch through all steps, so that the trials of a
pack run side by side and a pack costs little more than a trial until the device is full. The
position of a program in the grid is all that it knows of the pack: a slot's bits depend on nothing
else. Nothing depends on these kernels: without Triton, or with ``LONGHAUL_COMPILED_SCANS=0``, the
scans written with torch do the same work.

The modules named ``..._kernels`` import Triton; they are imported where they are needed.
"""
