"""Recurrent cells, one to a file; `longhaul_trainers.catalogue.CELLS` lists them."""
