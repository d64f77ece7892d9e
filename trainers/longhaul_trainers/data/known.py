"""The data sets that are known by name."""

from longhaul_trainers.catalogue import Catalogue

DATA_SETS = Catalogue(
    "data set",
    {
        "cifar10": "longhaul_trainers.data.cifar10:CIFAR10",
        "digits": "longhaul_trainers.data.digits:DIGITS",
        "jsb": "longhaul_trainers.data.piano_rolls:JSB",
        "mnist": "longhaul_trainers.data.mnist:MNIST",
        "muse": "longhaul_trainers.data.piano_rolls:MUSE",
        "nottingham": "longhaul_trainers.data.piano_rolls:NOTTINGHAM",
        "piano": "longhaul_trainers.data.piano_rolls:PIANO",
        "ptb": "longhaul_trainers.data.texts:PTB",
        "ptb_words": "longhaul_trainers.data.words:PTB_WORDS",
        "spoken_digits": "longhaul_trainers.data.spoken_digits:SPOKEN_DIGITS",
        "timit": "longhaul_trainers.data.timit:TIMIT",
    },
    group="longhaul.data_sets",
)
"""Import strings of `DataSet` objects."""
