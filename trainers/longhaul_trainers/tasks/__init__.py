"""Benchmark tasks, one to a file; `longhaul_trainers.catalogue.TASKS` lists them."""
