"""The data sets that are known by name."""

from longhaul_trainers.catalogue import Catalogue

DATA_SETS = Catalogue(
    "data set",
    {
        "cifar10": "longhaul_trainers.data.cifar10:CIFAR10",
        "digits": "longhaul_trainers.data.digits:DIGITS",
        "mnist": "longhaul_trainers.data.mnist:MNIST",
    },
    group="longhaul.data_sets",
)
"""Import strings of `DataSet` objects."""
