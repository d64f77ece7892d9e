"""Running a search: Ray Tune schedules, Optuna suggests, ASHA stops, the ledger remembers."""
