"""Scans in C++, for the CPU: compiled at first use and kept, or done without.

A scan of small matrices is bound by the bookkeeping around thousands of small operations; compiled,
all steps of a slot are one call. Nothing depends on it: where there is no compiler, or
``LONGHAUL_COMPILED_SCANS=0``, the scans written with torch do the same work, and say so once.
"""
