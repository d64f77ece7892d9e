"""Longhaul: hyperparameter search for recurrent cells that must remember for a long time."""

__version__ = "0.1.0"
