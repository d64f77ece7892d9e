"""Data that tasks read from files.

A user puts files into the folder that ``LONGHAUL_DATA`` names; `data_sets` lists what is known.
`store.open_data` finds the files of one data set, converts them once into Arrow files, and gives
their columns as arrays that are memory-mapped, so that all trials of a node share them.
"""
