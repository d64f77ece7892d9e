"""Training packs of trials: optimisers, the loop, evaluation, checkpoints."""
