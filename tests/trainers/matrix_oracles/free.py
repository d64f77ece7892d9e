"""W itself is trained."""

CASES = [
    {},
    {"recurrent_init": "glorot_normal", "recurrent_gain": 0.5, "recurrent_optimizer": "sgd"},
    {"recurrent_init": "chain", "learning_rate_ratio": 0.3},
]


def matrix(p, settings, hidden_size):
    return p["weight"]
