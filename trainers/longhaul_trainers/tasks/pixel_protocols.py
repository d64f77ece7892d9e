"""Pixel-by-pixel images as the papers split, scaled, permuted and trained on them."""

from dataclasses import dataclass
from typing import Final, Literal

from longhaul_trainers.tasks.base import Protocol, Score
from longhaul_trainers.tasks.pixel_permutations import PermutationName
from longhaul_trainers.tasks.pixel_sources import SourceName
from longhaul_trainers.tasks.pixel_splits import Split


@dataclass(frozen=True, kw_only=True)
class PixelProtocol(Protocol):
    """A protocol of the pixel task.

    Attributes:
        images: which images.
        split: which training images are for validation.
        permutation: the order of the pixels in the permuted variant; None where it is not known.
        scale: pixels, 0 to 255, are divided by this.
        mean, deviation: then shifted by the one and divided by the other.
        scan: what a step shows.
        length: steps with the noise that follows the image; None for none.
        noise: whether it is the same after every image.
        published_images: whether split and scale are those of a paper, for these images alone.
    """

    images: SourceName
    split: Split
    permutation: PermutationName | None
    scale: float = 255
    mean: float = 0
    deviation: float = 1
    scan: Literal["pixels", "rows"] = "pixels"
    length: int | None = None
    noise: Literal["fixed", "per_sample"] = "per_sample"
    published_images: bool = True


ProtocolName = Literal[
    "chang-2019",
    "erichson-2021",
    "helfrich-2018",
    "keller-2024",
    "kerg-2019",
    "lezcano-2019",
    "longhaul",
    "mhammedi-2017",
    "rusch-2021",
    "rusch-2021-cifar10",
    "rusch-2021-unicornn",
    "rusch-2022",
    "voelker-2019",
    "vorontsov-2017",
]

_PERMUTED: Final = "permutation: protocol"
_QUOTED: Final = "as later papers quote it, not read in the paper itself"
_DRAWN: Final = (
    "Which training images are for validation depends on everything their program had drawn before "
    "from the same generator; here they are drawn by a stream of ours. "
)


def _both(model: str, ordered: float, permuted: float, note: str = "") -> tuple[Score, Score]:
    """Test accuracies with the pixels in order and permuted."""
    return Score(model, ordered, note=note), Score(model, permuted, setting=_PERMUTED, note=note)


_MNIST: Final = (
    PixelProtocol(
        name="erichson-2021",
        source="Erichson, Azencot, Queiruga, Hodgkinson, Mahoney: Lipschitz Recurrent Neural "
        "Networks, ICLR 2021, arXiv:2006.12070; code erichson/LipschitzRNN",
        summary="58,000 images for training, 2,000 for validation; pixels / 255, then shifted by "
        "0.1307 and divided by 0.3081.",
        batch_size=128,
        steps=100 * 454,
        defects=_DRAWN + "In an early version of their program the permuted test images are the "
        "training images, and rows and columns are permuted, not pixels. The learning rate is cut "
        "to a tenth after 90 of 100 epochs.",
        published=_both("LipschitzRNN, n = 128", 0.994, 0.963, _QUOTED),
        images="mnist",
        split=Split(2_000, "drawn"),
        permutation="torch-12008",
        mean=0.1307,
        deviation=0.3081,
    ),
    PixelProtocol(
        name="helfrich-2018",
        source="Helfrich, Willmott, Ye: Orthogonal Recurrent Neural Networks with Scaled Cayley "
        "Transform (scoRNN), ICML 2018, arXiv:1707.09520; code SpartinStuff/scoRNN",
        summary="Trained on the last 55,000 training images; pixels / 255. The first 5,000, which "
        "their loader sets aside, are for validation here.",
        batch_size=50,
        steps=70 * 1_100,
        defects="Their program never looks at the validation images: it follows the accuracy on "
        "the test set, once an epoch.",
        published=(
            *_both("scoRNN, n = 170", 0.973, 0.943, _QUOTED),
            *_both("scoRNN, n = 360", 0.983, 0.962, _QUOTED),
            *_both("scoRNN, n = 512", 0.982, 0.966, _QUOTED),
        ),
        selects_on_test=True,
        images="mnist",
        split=Split(5_000, "first"),
        permutation="numpy-92916",
    ),
    PixelProtocol(
        name="keller-2024",
        source="Keller, Muller, Sejnowski, Welling: Traveling Waves Encode the Recent Past and "
        "Enhance Sequence Learning (wRNN), ICLR 2024, arXiv:2309.08045; code "
        "akandykeller/Wave_RNNs",
        summary="57,000 images for training, 3,000 for validation; pixels / 255.",
        batch_size=128,
        steps=120 * 445,
        defects=_DRAWN + "Their program draws a new permutation each run, since the line that sets "
        "the seed is commented out, so there is none to name. The learning rate is cut to a tenth "
        "after 100 of 120 epochs.",
        published=_both("wRNN", 0.976, 0.967, _QUOTED),
        images="mnist",
        split=Split(3_000, "drawn"),
        permutation=None,
    ),
    PixelProtocol(
        name="kerg-2019",
        source="Kerg, Goyette, Touzel, Gidel, Vorontsov, Bengio, Lajoie: Non-normal Recurrent "
        "Neural Network (nnRNN), NeurIPS 2019, arXiv:1905.12080; code nnRNN/nnRNN_release",
        summary="50,000 images for training, 10,000 for validation, split by the generator that "
        "has drawn the permutation; pixels / 255.",
        batch_size=100,
        steps=100 * 500,
        defects="They pass the training images in the same order every epoch; here each epoch has "
        "its own. Without the permutation their program stops with an error; the split here is "
        "then the one that it would have made after drawing it. The scores are read off plots of "
        "the validation accuracy at 70 epochs.",
        published=tuple(
            Score(model, value, setting=_PERMUTED, note="validation, read off a plot")
            for model, value in (
                ("expRNN, n = 512", 0.96),
                ("expRNN, n = 722", 0.965),
                ("nnRNN, n = 512", 0.945),
                ("RNN, orthogonal at first, n = 512", 0.945),
                ("LSTM, n = 512", 0.905),
                ("LSTM, n = 257", 0.89),
            )
        ),
        images="mnist",
        split=Split(10_000, "kerg"),
        permutation="numpy-1234",
    ),
    PixelProtocol(
        name="lezcano-2019",
        source="Lezcano-Casado, Martínez-Rubio: Cheap Orthogonal Constraints in Neural Networks "
        "(expRNN), ICML 2019, arXiv:1901.08428, and Lezcano-Casado: Trivializations for "
        "Gradient-Based Optimization on Manifolds (dtriv), NeurIPS 2019, arXiv:1909.09501; code "
        "Lezcano/expRNN",
        summary="No validation images; pixels / 255. Here the last 5,000 training images are for "
        "validation, and 55,000 are trained on.",
        batch_size=128,
        steps=70 * 469,
        defects="Their program trains on all 60,000 images and keeps the best accuracy on the test "
        "set over the epochs, so that its scores are a little too good. Here validation selects.",
        published=(
            *_both("expRNN, n = 170", 0.980, 0.949, _QUOTED),
            *_both("expRNN, n = 360", 0.984, 0.962, _QUOTED),
            *_both("expRNN, n = 512", 0.987, 0.966, _QUOTED),
            *_both("dtriv, n = 170", 0.983, 0.952, _QUOTED),
            *_both("dtriv, n = 360", 0.985, 0.963, _QUOTED),
            *_both("dtriv, n = 512", 0.989, 0.968, _QUOTED),
        ),
        selects_on_test=True,
        images="mnist",
        split=Split(5_000, "last"),
        permutation="numpy-92916",
    ),
    PixelProtocol(
        name="mhammedi-2017",
        source="Mhammedi, Hellicar, Rahman, Bailey: Efficient Orthogonal Parametrisation of "
        "Recurrent Neural Networks Using Householder Reflections (oRNN), ICML 2017, "
        "arXiv:1612.00188; code zmhammedi/Orthogonal_RNN",
        summary="55,000 images for training, 5,000 for validation; pixels / 256.",
        batch_size=64,
        steps=20 * 860,
        defects="Their program permutes the images twice before it splits them, so that about nine "
        "tenths of the validation images are trained on; here none are, and the split is drawn by "
        "a stream of ours. Their permutation of the pixels is a file of their own, so there is "
        "none to name. They validate every 20 steps.",
        published=(Score("oRNN, n = 128, 16 reflections", 0.956),),
        images="mnist",
        split=Split(5_000, "drawn"),
        permutation=None,
        scale=256,
    ),
    PixelProtocol(
        name="rusch-2021",
        source="Rusch, Mishra: Coupled Oscillatory Recurrent Neural Network (coRNN), ICLR 2021, "
        "arXiv:2010.00951; code tk-rusch/coRNN",
        summary="57,000 images for training, 3,000 for validation; pixels / 255.",
        batch_size=120,
        steps=120 * 475,
        defects=_DRAWN + "The learning rate is cut to a tenth after 100 of 120 epochs. With the "
        "pixels in order, they test the last epoch, not the one that validates best.",
        published=_both("coRNN, n = 256", 0.994, 0.9734),
        images="mnist",
        split=Split(3_000, "drawn"),
        permutation="torch-12008",
    ),
    PixelProtocol(
        name="rusch-2021-unicornn",
        source="Rusch, Mishra: UnICORNN: A recurrent model for learning very long time "
        "dependencies, ICML 2021, arXiv:2103.05487; code tk-rusch/unicornn",
        summary="57,000 images for training, 3,000 for validation; pixels / 255; a very long "
        "training.",
        batch_size=32,
        steps=2_600 * 1_782,
        defects=_DRAWN + "A note in their program says that the seed is that of the uRNN and oRNN "
        "programs; the seed of another generator, it makes another permutation. The learning rate "
        "is cut to a tenth after 650 of 2,600 epochs. The size of the validation set is that of "
        "the same authors' coRNN.",
        published=(
            Score(
                "UnICORNN, 3 layers, n = 256", 0.984, setting=_PERMUTED, note="the best of its runs"
            ),
        ),
        images="mnist",
        split=Split(3_000, "drawn"),
        permutation="torch-5544",
    ),
    PixelProtocol(
        name="rusch-2022",
        source="Rusch, Mishra, Erichson, Mahoney: Long Expressive Memory for Sequence Modeling "
        "(LEM), ICLR 2022, arXiv:2110.04744; code tk-rusch/LEM",
        summary="57,000 images for training, 3,000 for validation; pixels / 255; gradients clipped "
        "to norm 1, permuted 1.1.",
        batch_size=128,
        steps=120 * 446,
        defects=_DRAWN + "A note in their program says that the seed is that of the expRNN and "
        "scoRNN programs; the seed of another generator, it makes another permutation. The "
        "learning rate is cut to a tenth after 100 of 120 epochs.",
        published=_both("LEM, n = 128", 0.995, 0.966),
        images="mnist",
        split=Split(3_000, "drawn"),
        permutation="torch-5544",
    ),
    PixelProtocol(
        name="voelker-2019",
        source="Voelker, Kajić, Eliasmith: Legendre Memory Units, NeurIPS 2019; the notebook of "
        "its authors' package",
        summary="The first 50,000 images for training, the last 10,000 for validation; pixels / "
        "255; ten epochs.",
        batch_size=100,
        steps=10 * 500,
        published=(
            Score("LMU, order 256, n = 212", 0.9715, setting=_PERMUTED, note=_QUOTED),
            Score("HiPPO-LegS", 0.983, setting=_PERMUTED, note="Gu and others 2020; " + _QUOTED),
        ),
        images="mnist",
        split=Split(10_000, "last"),
        permutation="numpy-0",
    ),
    PixelProtocol(
        name="vorontsov-2017",
        source="Vorontsov, Trabelsi, Kadoury, Pal: On orthogonality and learning recurrent "
        "networks with long term dependencies, ICML 2017, arXiv:1702.00071; code "
        "veugene/spectre_release",
        summary="The first 50,000 images for training, the last 10,000 for validation; pixels / "
        "256, as in the file mnist.pkl.gz that they read.",
        batch_size=50,
        steps=120 * 1_000,
        defects="Their program draws the permutation from a seed that is not published, so there "
        "is none to name. Where it shuffles, it draws a new order for every batch, so that an "
        "epoch passes some images more than once and others not at all.",
        published=(
            *_both("margin 0, n = 128", 0.7718, 0.8356),
            *_both("margin 0.001, n = 128", 0.7926, 0.8459),
            *_both("margin 0.01, n = 128", 0.8547, 0.8963),
            *_both("margin 0.1, n = 128", 0.9410, 0.9144),
            *_both("margin 1, n = 128", 0.9384, 0.9083),
            *_both("no margin, n = 128", 0.9324, 0.9051),
            *_both("no margin, Glorot, n = 128", 0.6671, 0.7933),
            *_both("LSTM, n = 128", 0.9730, 0.9262),
        ),
        images="mnist",
        split=Split(10_000, "last"),
        permutation=None,
        scale=256,
    ),
)

_CIFAR10: Final = (
    PixelProtocol(
        name="chang-2019",
        source="Chang, Chen, Haber, Chi: AntisymmetricRNN: A Dynamical System View on Recurrent "
        "Neural Networks, ICLR 2019, arXiv:1902.09689",
        summary="CIFAR-10 row by row, 32 steps of 96 numbers, then 968 steps of standard normal "
        "noise, new in every sequence. Here the last 5,000 training images are for validation.",
        batch_size=128,
        steps=50_000,
        defects="There is no public program: batch size and steps are from memory, the scale, 255, "
        "is a guess. The paper has a training and a test set only. Each step's noise is one of "
        "16,384 rows that are drawn once.",
        published=(
            Score("AntisymmetricRNN", 0.483, note=_QUOTED),
            Score("AntisymmetricRNN, gated", 0.547, note=_QUOTED),
            Score("LSTM", 0.116, note=_QUOTED),
            Score("GRU", 0.438, note=_QUOTED),
        ),
        images="cifar10",
        split=Split(5_000, "last"),
        permutation=None,
        scan="rows",
        length=1000,
        noise="per_sample",
    ),
    PixelProtocol(
        name="rusch-2021-cifar10",
        source="Rusch, Mishra: Coupled Oscillatory Recurrent Neural Network (coRNN), ICLR 2021, "
        "arXiv:2010.00951; code tk-rusch/coRNN",
        summary="CIFAR-10 row by row, 32 steps of 96 numbers, pixels / 255, then 968 steps of one "
        "block of noise. 47,000 images for training, 3,000 for validation.",
        batch_size=100,
        steps=120 * 470,
        defects=_DRAWN + "What should be noise is drawn once and is the same after every image, "
        "training and test, hence a constant that can be learnt; the programs of UnICORNN, LEM, "
        "wRNN and LipschitzRNN do the same. Noise of each sequence's own is chang-2019, or "
        "noise: per_sample. LipschitzRNN's rows are three rows of one channel each, since it "
        "reshapes before it brings the channels together. Their block is not reproducible; here "
        "it is drawn by a stream of ours. The learning rate is cut to a tenth after 100 of 120 "
        "epochs.",
        published=(
            Score("coRNN, n = 128", 0.590, note="0.582 in a version of their README"),
            Score("LipschitzRNN", 0.590, note=_QUOTED),
            Score("UnICORNN, 3 layers, n = 128", 0.624, note="the best of its runs"),
            Score("LEM, n = 128", 0.605),
            Score("wRNN", 0.550, note=_QUOTED),
        ),
        images="cifar10",
        split=Split(3_000, "drawn"),
        permutation=None,
        scan="rows",
        length=1000,
        noise="fixed",
    ),
)

_OWN: Final = PixelProtocol(
    name="longhaul",
    source="this project; no paper has it",
    summary="Any of the images, digits where nothing else is named, with the last part of the "
    "training file for validation (digits 240 of 1,437, mnist 5,000 of 60,000, cifar10 5,000 of "
    "50,000) and pixels between 0 and 1.",
    batch_size=50,
    steps=3_000,
    images="digits",
    split=Split(240, "last"),
    permutation="numpy-92916",
    scale=16,
    published_images=False,
)

_ALL: Final = sorted((*_CIFAR10, *_MNIST, _OWN), key=lambda protocol: protocol.name)

PROTOCOLS: Final = {protocol.name: protocol for protocol in _ALL}
