"""Names that a configuration may use, and the classes behind them."""

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from longhaul_trainers.errors import BrokenPackageError, UnknownNameError

if TYPE_CHECKING:
    from longhaul_trainers.settings import Settings


class Catalogue:
    """One list of names, for example all cells.

    Args:
        noun: what one entry is called in messages, for example ``cell``.
        entries: name to import string ``package.module:Class``, resolved on first use, so that
            listing names imports nothing.
        group: entry-point group through which a user's own package adds names. A name of ours
            cannot be replaced.
    """

    def __init__(self, noun: str, entries: Mapping[str, str], group: str | None = None) -> None:
        self.noun = noun
        self._entries = dict(entries)
        self._group = group

    @cached_property
    def _contributed(self) -> dict[str, EntryPoint]:
        if self._group is None:
            return {}
        found = entry_points(group=self._group)
        return {point.name: point for point in found if point.name not in self._entries}

    def names(self) -> list[str]:
        """All names, ours first, each part in alphabetical order."""
        return sorted(self._entries) + sorted(self._contributed)

    def get(self, name: object, path: str = "") -> Any:
        """The class called ``name``.

        Args:
            name: a name of this catalogue.
            path: dotted path of the key that holds the name, for the message.

        Raises:
            UnknownNameError: no such name; the message has the nearest one.
            BrokenPackageError: the package that contributes the name fails on import.
        """
        if isinstance(name, str) and name in self._entries:
            module, _, attribute = self._entries[name].partition(":")
            return getattr(import_module(module), attribute)
        if isinstance(name, str) and name in self._contributed:
            try:
                return self._contributed[name].load()
            except Exception as error:
                package = self.package(name)
                raise BrokenPackageError(path, self.noun, name, package, error) from error
        raise UnknownNameError(path, self.noun, name, self.names())

    def package(self, name: str) -> str:
        """The package that contributes a name, ``mycells 1.0``; empty for a name of ours."""
        if name not in self._contributed:
            return ""
        distribution = self._contributed[name].dist
        if distribution is None:
            return self._contributed[name].value
        return f"{distribution.name} {distribution.version}"

    def settings_type(self, name: object, path: str = "") -> "type[Settings]":
        """The settings class of the entry called ``name``; raises as `get`.

        An entry without ``settings_type`` is a settings class itself.
        """
        entry = self.get(name, path)
        settings_type: type[Settings] = getattr(entry, "settings_type", entry)
        return settings_type


CELLS = Catalogue(
    "cell",
    {
        "antisymmetric": "longhaul_trainers.cells.antisymmetric:AntisymmetricRNN",
        "cornn": "longhaul_trainers.cells.cornn:CoRNN",
        "dgrnn_reconstructed": "longhaul_trainers.cells.dgrnn_reconstructed:DGRNNReconstructed",
        "dtriv": "longhaul_trainers.cells.dtriv:Dtriv",
        "elman": "longhaul_trainers.cells.composed:ComposedElman",
        "eurnn": "longhaul_trainers.cells.eurnn:EURNN",
        "exprnn": "longhaul_trainers.cells.exprnn:ExpRNN",
        "fastgrnn": "longhaul_trainers.cells.fastrnn:FastGRNN",
        "fastrnn": "longhaul_trainers.cells.fastrnn:FastRNN",
        "full_urnn": "longhaul_trainers.cells.full_urnn:FullURNN",
        "goru": "longhaul_trainers.cells.goru:GORU",
        "gru": "longhaul_trainers.cells.gru:GRU",
        "indrnn": "longhaul_trainers.cells.indrnn:IndRNN",
        "irnn": "longhaul_trainers.cells.rnn:IRNN",
        "kru": "longhaul_trainers.cells.kru:KRU",
        "lem": "longhaul_trainers.cells.lem:LEM",
        "linoss": "longhaul_trainers.cells.linoss:LinOSS",
        "lipschitz": "longhaul_trainers.cells.lipschitz:LipschitzRNN",
        "lmu": "longhaul_trainers.cells.lmu:LMU",
        "lru": "longhaul_trainers.cells.lru:LRU",
        "lstm": "longhaul_trainers.cells.lstm:LSTM",
        "mingru": "longhaul_trainers.cells.mingru:MinGRU",
        "minlstm": "longhaul_trainers.cells.mingru:MinLSTM",
        "nnrnn": "longhaul_trainers.cells.nnrnn:NNRNN",
        "ornn": "longhaul_trainers.cells.ornn:ORNN",
        "projunn": "longhaul_trainers.cells.projunn:ProjUNN",
        "rnn": "longhaul_trainers.cells.rnn:RNN",
        "rum": "longhaul_trainers.cells.rum:RUM",
        "scornn": "longhaul_trainers.cells.scornn:ScoRNN",
        "scurnn": "longhaul_trainers.cells.scurnn:ScuRNN",
        "slstm": "longhaul_trainers.cells.slstm:SLSTM",
        "spectral_margin": "longhaul_trainers.cells.spectral_margin:SpectralMargin",
        "srnn": "longhaul_trainers.cells.srnn:SRNN",
        "sru": "longhaul_trainers.cells.sru:SRU",
        "svd_rnn": "longhaul_trainers.cells.svd_rnn:SVDRNN",
        "unicornn": "longhaul_trainers.cells.unicornn:UnICORNN",
        "ur_gru": "longhaul_trainers.cells.ur_gru:URGRU",
        "ur_lstm": "longhaul_trainers.cells.ur_lstm:URLSTM",
        "urnn": "longhaul_trainers.cells.urnn:URNN",
        "wrnn": "longhaul_trainers.cells.wrnn:WRNN",
    },
    group="longhaul.cells",
)

MATRICES = Catalogue(
    "recurrent matrix",
    {
        "cayley": "longhaul_trainers.matrices.cayley:CayleyMatrix",
        "circular": "longhaul_trainers.matrices.circular:CircularMatrix",
        "dtriv": "longhaul_trainers.matrices.dynamic_trivialization:DynamicTrivializationMatrix",
        "eunn": "longhaul_trainers.matrices.eunn:EUNNMatrix",
        "exponential": "longhaul_trainers.matrices.exponential:ExponentialMatrix",
        "free": "longhaul_trainers.matrices.free:FreeMatrix",
        "householder": "longhaul_trainers.matrices.householder:HouseholderMatrix",
        "kronecker": "longhaul_trainers.matrices.kronecker:KroneckerMatrix",
        "projected": "longhaul_trainers.matrices.projected:ProjectedMatrix",
        "restricted_unitary": (
            "longhaul_trainers.matrices.restricted_unitary:RestrictedUnitaryMatrix"
        ),
        "schur": "longhaul_trainers.matrices.schur:SchurMatrix",
        "shift": "longhaul_trainers.matrices.shift:ShiftMatrix",
        "skew_diffusion": "longhaul_trainers.matrices.skew_diffusion:SkewDiffusionMatrix",
        "svd_householder": "longhaul_trainers.matrices.svd_householder:SVDHouseholderMatrix",
        "svd_margin": "longhaul_trainers.matrices.svd_margin:SVDMarginMatrix",
        "symmetric_skew": "longhaul_trainers.matrices.symmetric_skew:SymmetricSkewMatrix",
        "unitary": "longhaul_trainers.matrices.unitary:UnitaryMatrix",
        "unitary_cayley": "longhaul_trainers.matrices.unitary_cayley:UnitaryCayleyMatrix",
        "vector_field_diagonal": "longhaul_trainers.matrices.vector_field_diagonal:DiagonalField",
        "vector_field_metric": "longhaul_trainers.matrices.vector_field_metric:MetricField",
        "vector_field_operator": "longhaul_trainers.matrices.vector_field_operator:OperatorField",
    },
    group="longhaul.matrices",
)

TASKS = Catalogue(
    "task",
    {
        "adding": "longhaul_trainers.tasks.adding:Adding",
        "characters": "longhaul_trainers.tasks.characters:Characters",
        "copying": "longhaul_trainers.tasks.copying:Copying",
        "delay": "longhaul_trainers.tasks.delay:Delay",
        "denoise": "longhaul_trainers.tasks.denoise:Denoise",
        "fitzhugh_nagumo": "longhaul_trainers.tasks.fitzhugh_nagumo:FitzHughNagumo",
        "listops": "longhaul_trainers.tasks.listops:ListOps",
        "lorenz96": "longhaul_trainers.tasks.lorenz96:Lorenz96",
        "mnist1d": "longhaul_trainers.tasks.mnist1d:MNIST1D",
        "mqar": "longhaul_trainers.tasks.mqar:MQAR",
        "music": "longhaul_trainers.tasks.music:Music",
        "parenthesis": "longhaul_trainers.tasks.parenthesis:Parenthesis",
        "pixels": "longhaul_trainers.tasks.pixels:Pixels",
        "recall": "longhaul_trainers.tasks.recall:Recall",
        "sequences": "longhaul_trainers.tasks.sequences:Sequences",
        "speech_frames": "longhaul_trainers.tasks.speech_frames:SpeechFrames",
        "state_tracking": "longhaul_trainers.tasks.state_tracking:StateTracking",
        "variable_copying": "longhaul_trainers.tasks.variable_copying:VariableCopying",
        "words": "longhaul_trainers.tasks.words:Words",
    },
    group="longhaul.tasks",
)

NONLINEARITIES = Catalogue(
    "nonlinearity",
    {
        name: f"longhaul_trainers.nonlinearities:{cls}"
        for name, cls in {
            "identity": "Identity",
            "leaky_relu": "LeakyReLU",
            "modrelu": "ModReLU",
            "relu": "ReLU",
            "tanh": "Tanh",
        }.items()
    }
    | {
        "complex_modrelu": "longhaul_trainers.complex_modrelu:ComplexModReLU",
        "oplu": "longhaul_trainers.oplu:OPLU",
        "prelu": "longhaul_trainers.prelu:PReLU",
        "shared_prelu": "longhaul_trainers.prelu:SharedPReLU",
    },
)

OPTIMIZERS = Catalogue(
    "optimizer",
    {
        name: f"longhaul_trainers.training.optimizers:{cls}"
        for name, cls in {
            "adam": "Adam",
            "adamw": "AdamW",
            "rmsprop": "RMSprop",
            "sgd": "SGD",
        }.items()
    },
)

MANIFOLD_OPTIMIZERS = Catalogue(
    "optimizer on a manifold",
    {
        "geodesic": "longhaul_trainers.training.manifold_optimizers:GeodesicDescent",
        "projunn": "longhaul_trainers.training.manifold_optimizers:ProjUNN",
    },
)
"""Steps that keep a constraint, which a recurrent matrix asks for; no trial can name them."""
