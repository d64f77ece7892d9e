"""TIMIT: 630 speakers, ten sentences each; licensed by the LDC, so users bring their own."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from longhaul_trainers.data.columns import Parts, Ragged, ragged
from longhaul_trainers.data.data_set import DataSet, Form
from longhaul_trainers.data.folders import data_folder
from longhaul_trainers.data.spectrogram import BINS, FLOOR, SAMPLE_RATE, log_power_frames

SIZES: Final = {"train": 3640, "development": 400, "core": 192}
"""Utterances: all speakers of TRAIN; the 50 of the development set and the 24 of the core test set,
both from TEST. The two sentences that everybody speaks (SA) are left out."""

_DEVELOPMENT_SPEAKERS: Final = (
    "faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 fdms0 "
    "fedw0 mgjf0 mglb0 mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 "
    "mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4 fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 "
    "mteb0 mjfc0 mrjr0 fmml0 mrws1"
)
_CORE_SPEAKERS: Final = (
    "mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0 fnlp0 "
    "mcmj0 mjdh0 fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0"
)
DEVELOPMENT: Final = frozenset(re.findall(r"\w+", _DEVELOPMENT_SPEAKERS))
CORE: Final = frozenset(re.findall(r"\w+", _CORE_SPEAKERS))

_UTTERANCE: Final = re.compile(r"(train|test)/dr\d/([fm]\w{3}\d)/s[ix]\d+\.wav$", re.IGNORECASE)
_ARRAYS: Final = {"train": "train", "development": "test", "core": "eval"}


@dataclass(frozen=True)
class CorpusForm(Form):
    """The folder of the LDC: ``TRAIN/DR1/FCJF0/SI1027.WAV`` and so on, in either case."""

    def find(self) -> tuple[Path, ...] | None:
        """All utterances that belong to one of the parts, in alphabetical order."""
        root = data_folder()
        for folder in self.folders if root else ():
            found = [path for path in (root or Path()).glob(f"{folder}/*/*/*/*") if part_of(path)]
            if found:
                return tuple(sorted(found, key=lambda path: path.as_posix().lower()))
        return None


def part_of(file: Path) -> str | None:
    """The part that an utterance belongs to, told by its path; None if to none."""
    match = _UTTERANCE.search(file.as_posix())
    if match is None:
        return None
    side, speaker = match[1].lower(), match[2].lower()
    if side == "train":
        return "train"
    return "development" if speaker in DEVELOPMENT else "core" if speaker in CORE else None


def read_corpus(files: Sequence[Path]) -> Parts:
    """Tables ``train``, ``development``, ``core`` with ``frames`` (T, 129) in dB.

    Raises:
        ValueError: utterances are missing, or a file is no recording that is understood.
    """
    members: dict[str, list[Path]] = {part: [] for part in SIZES}
    for file in files:
        members[part_of(file) or "train"].append(file)
    _check_sizes({part: len(found) for part, found in members.items()})
    return {
        part: {"frames": ragged([log_power_frames(recording(file)) for file in found])}
        for part, found in members.items()
    }


def read_arrays(files: Sequence[Path]) -> Parts:
    """As `read_corpus`, from the arrays of the authors' own program: frames and lengths.

    Raises:
        ValueError: arrays of other shapes, or of another number of utterances.
    """
    loaded = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
    found = dict(zip(_ARRAYS, zip(loaded[::2], loaded[1::2], strict=True), strict=True))
    _check_sizes({part: len(lengths) for part, (_, lengths) in found.items()})
    return {
        part: {"frames": _unpadded(f"{_ARRAYS[part]}_z", frames, lengths)}
        for part, (frames, lengths) in found.items()
    }


def recording(file: Path) -> NDArray[np.int16]:
    """The samples of a NIST SPHERE or RIFF file, brought from 16 to 8 kHz where need be.

    Raises:
        ValueError: another format, compressed, or another sample rate.
    """
    data = file.read_bytes()
    rate, samples = _sphere(file, data) if data[:7] == b"NIST_1A" else _riff(file, data)
    if rate == SAMPLE_RATE:
        return samples
    if rate != 2 * SAMPLE_RATE:
        raise ValueError(f"{file.name} has {rate} samples a second; expected 16000 or 8000")
    from scipy.signal import resample_poly  # imported here: 0.5 s

    # MATLAB's resample, which the authors used, designs the same filter.
    halved: NDArray[np.float64] = np.rint(resample_poly(samples.astype(np.float64), 1, 2))
    return halved.clip(-32768, 32767).astype(np.int16)


def _sphere(file: Path, data: bytes) -> tuple[int, NDArray[np.int16]]:
    head = data[:1024].decode("ascii", errors="replace")
    fields = dict(re.findall(r"^(\w+) -\w+ (.+)$", head, re.MULTILINE))
    if fields.get("sample_coding", "pcm") != "pcm" or fields.get("sample_n_bytes") != "2":
        raise ValueError(f"{file.name} is compressed; expected PCM with two bytes a sample")
    order = ">i2" if fields.get("sample_byte_format") == "10" else "<i2"
    count = int(fields.get("sample_count", -1))
    body = data[int(head.split()[1]) :]
    if count < 1 or len(body) < 2 * count:
        raise ValueError(f"{file.name} ends after {len(body) // 2} of {count} samples")
    return int(fields["sample_rate"]), np.frombuffer(body[: 2 * count], order).astype(np.int16)


def _riff(file: Path, data: bytes) -> tuple[int, NDArray[np.int16]]:
    import wave  # imported here: only recordings that somebody has converted need it

    if data[:4] != b"RIFF":
        raise ValueError(f"{file.name} is neither a NIST SPHERE nor a RIFF file")
    try:
        with wave.open(str(file), "rb") as opened:
            if opened.getnchannels() != 1 or opened.getsampwidth() != 2:
                raise ValueError(f"{file.name}: expected one channel, two bytes a sample")
            body = opened.readframes(opened.getnframes())
            return opened.getframerate(), np.frombuffer(body, "<i2").astype(np.int16)
    except (wave.Error, EOFError, struct.error) as error:
        raise ValueError(f"{file.name}: {error}") from error


def _unpadded(name: str, frames: NDArray[np.generic], lengths: NDArray[np.generic]) -> Ragged:
    if frames.ndim != 3 or frames.shape[0] != len(lengths) or frames.shape[2] != BINS:
        found = f"{frames.dtype} {frames.shape}"
        raise ValueError(f"{name} is {found}; expected ({len(lengths)}, T, {BINS})")
    if lengths.min() < 1 or lengths.max() > frames.shape[1]:
        raise ValueError(f"{name} holds {frames.shape[1]} frames; a length says {lengths.max()}")
    silence = np.full((1, BINS), 10 * np.log10(FLOOR), dtype=np.float32)
    return ragged(
        [
            np.concatenate([one[:length].astype(np.float32), silence])
            for one, length in zip(frames, lengths.tolist(), strict=True)
        ]
    )


def _check_sizes(found: dict[str, int]) -> None:
    if found != SIZES:
        counts = ", ".join(f"{count} of {SIZES[part]} {part}" for part, count in found.items())
        raise ValueError(f"found {counts} utterances; expected all of them")


_FOLDERS: Final = ("timit", "TIMIT", "timit/TIMIT", "TIMIT_8khz", "timit/data")

TIMIT: Final = DataSet(
    name="timit",
    summary="3,640 + 400 + 192 sentences of 462 + 50 + 24 speakers, read aloud, 16 kHz",
    forms=(
        CorpusForm(
            what="the corpus's own folders TRAIN and TEST, NIST SPHERE or RIFF files",
            files=("TRAIN", "TEST"),
            read=read_corpus,
            folders=_FOLDERS,
        ),
        Form(
            what="the arrays of the program of Wisdom et al., as expRNN's README has them saved",
            files=tuple(
                file for name in _ARRAYS.values() for file in (f"{name}_z.npy", f"lens_{name}.npy")
            ),
            read=read_arrays,
            folders=("timit_data", "timit"),
        ),
    ),
    source="the Linguistic Data Consortium, LDC93S1 (not free)",
    licence="LDC; no copy may be given away",
    stand_in="task: {name: speech_frames, protocol: spoken-digits}",
)
