"""Comparing the searches of a suite: fresh seeds of each best configuration, one table."""
