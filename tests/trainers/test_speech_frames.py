"""Frames of speech against a plain transform, made-up TIMIT folders and the files themselves."""

import math
import struct
import wave

import numpy as np
import pytest
import torch
from scipy.signal import resample

from longhaul_trainers.data import timit
from longhaul_trainers.data.spectrogram import log_power_frames
from longhaul_trainers.data.spoken_digits import SPOKEN_DIGITS
from longhaul_trainers.data.store import status
from longhaul_trainers.errors import MissingDataError, UnusableDataError
from longhaul_trainers.tasks.speech_frames import SpeechFrames, SpeechFramesSettings

SPEAKERS = {"train": ("fcjf0", "mabc1"), "development": ("faks0",), "core": ("mdab0",)}
SENTENCES = ("SI1027", "SX37", "SX127")


def speech(protocol="spoken-digits", **settings):
    return SpeechFrames(SpeechFramesSettings(protocol=protocol, **settings))


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(-9000, 9000, count).astype(np.int16)


def transformed(samples):
    """Every frame bin by bin, with the window and the padding written out."""
    hops = math.ceil(len(samples) / 128)
    signal = [0.0] * 256 + [s / 32768 for s in samples.tolist()]
    signal += [0.0] * (256 + 128 + 128 * hops - len(samples))
    frames = []
    for first in range(0, len(signal) - 255, 128):
        turns = np.exp(-2j * np.pi * np.outer(np.arange(129), np.arange(256)) / 256)
        window = [math.sin(math.pi * n / 256) ** 2 for n in range(256)]
        spectrum = turns @ (np.array(signal[first : first + 256]) * window)
        frames.append([10 * math.log10(1e-5 + abs(x) ** 2) for x in spectrum])
    return np.array(frames)


@pytest.mark.parametrize("count", [1, 128, 300, 640])
def test_frames_are_those_of_a_plain_transform(count):
    found = log_power_frames(noise(count))
    assert found.dtype == np.float32
    assert found.shape == (math.ceil(count / 128) + 4, 129)
    np.testing.assert_allclose(found, transformed(noise(count)), rtol=1e-4, atol=1e-3)


def test_before_and_after_speech_is_silence_of_50_db_below():
    found = log_power_frames(noise(500))
    assert (found[[0, -2, -1]] == -50).all()
    assert (found[1:-3].max(1) > -50).all()


def test_a_tone_stands_at_its_frequency():
    tone = np.rint(8000 * np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)).astype(np.int16)
    assert (log_power_frames(tone)[5:20].argmax(1) == 32).all()  # of 129 bins to 4 kHz


def sphere(samples, rate=16000, coding="pcm"):
    head = (
        f"NIST_1A\n   1024\nsample_count -i {len(samples)}\nsample_n_bytes -i 2\n"
        f"sample_byte_format -s2 01\nsample_rate -i {rate}\n"
        f"sample_coding -s{len(coding)} {coding}\nend_head\n"
    )
    return head.encode().ljust(1024) + samples.astype("<i2").tobytes()


def riff(path, samples, rate=8000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A corpus of four speakers with three sentences each, and what must not be used."""
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    sizes = {part: 3 * len(speakers) for part, speakers in SPEAKERS.items()}
    monkeypatch.setattr(timit, "SIZES", sizes)
    seed = 0
    for part, speakers in SPEAKERS.items():
        side = "TRAIN" if part == "train" else "TEST"
        for speaker in (*speakers, "mzzz9") if part == "core" else speakers:
            folder = tmp_path / "timit" / side / "DR1" / speaker.upper()
            folder.mkdir(parents=True)
            for sentence in (*SENTENCES, "SA1"):
                seed += 1
                (folder / f"{sentence}.WAV").write_bytes(sphere(noise(2000 + 10 * seed, seed)))
    return tmp_path / "timit"


def test_parts_are_the_published_speakers_without_the_common_sentences(corpus):
    task = speech("wisdom-2016")
    assert [len(task.sequences(part)) for part in ("train", "validation", "test")] == [6, 3, 3]
    core = sorted((corpus / "TEST/DR1/MDAB0").glob("S[IX]*"))
    wanted = log_power_frames(timit.recording(core[0]))
    assert np.array_equal(task.sequences("test")[0], wanted)


def test_lists_of_speakers_are_complete():
    assert len(timit.DEVELOPMENT) == 50
    assert len(timit.CORE) == 24
    assert not timit.DEVELOPMENT & timit.CORE
    genders = [sum(s[0] == "f" for s in found) for found in (timit.DEVELOPMENT, timit.CORE)]
    assert genders == [18, 8]
    assert timit.SIZES == {"train": 462 * 8, "development": 50 * 8, "core": 24 * 8} | {
        "train": 3640
    }


def test_exprnn_swaps_development_and_core_test_set(corpus):
    wisdom, lezcano = speech("wisdom-2016"), speech("lezcano-2019")
    for split, other in (("validation", "test"), ("test", "validation")):
        swapped, whole = lezcano.sequences(split), wisdom.sequences(other)
        assert all(np.array_equal(swapped[i], whole[i]) for i in range(3))
    assert "changed places" in lezcano.protocol.defects


def test_exprnn_asks_for_the_frame_that_was_just_read(corpus):
    task = speech("lezcano-2019")
    batch = task.training_batch(0, 0, 6)
    # What is asked for at step t + 1 was the input at step t, so a memory of one step suffices.
    lasting = batch.targets[1:].isfinite()
    assert torch.equal(batch.targets[1:][lasting], batch.inputs[:-1][lasting])
    assert "nothing is predicted" in task.protocol.defects


def test_wisdom_asks_for_the_frame_to_come_and_silence_at_the_end(corpus):
    task = speech("wisdom-2016")
    batch = task.evaluation_set("test", 3)
    counted = batch.targets[:, 0, 0].isfinite()
    steps = int(counted.sum())
    assert steps == len(task.sequences("test")[0]) - 1
    assert torch.equal(batch.targets[: steps - 1, 0], batch.inputs[1:steps, 0])
    assert (batch.targets[steps - 1, 0] == -50).all()
    assert task.weight(batch.targets) == sum(len(task.sequences("test")[i]) - 1 for i in range(3))


def test_baseline_of_an_unknown_corpus_is_measured(corpus):
    task = speech("wisdom-2016")
    train = np.concatenate([task.sequences("train")[i][1:] for i in range(6)]).astype(np.float64)
    test = np.concatenate([task.sequences("test")[i][1:] for i in range(3)])
    assert task.baseline == pytest.approx(((test - train.mean(0)) ** 2).mean(), rel=1e-6)


def test_a_corpus_with_recordings_missing_is_refused(corpus):
    next((corpus / "TEST/DR1/FAKS0").glob("SX*")).unlink()
    with pytest.raises(UnusableDataError, match="2 of 3 development"):
        speech("wisdom-2016").prepare()


def test_missing_corpus_names_the_stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match="protocol: spoken-digits"):
        speech("wisdom-2016").prepare()


def test_arrays_of_the_authors_program_give_the_same_frames(corpus, tmp_path, monkeypatch):
    task = speech("wisdom-2016")
    parts = {"train": "train", "test": "validation", "eval": "test"}
    wanted = {part: [task.sequences(part)[i] for i in range(3)] for part in parts.values()}
    arrays = tmp_path / "arrays" / "timit_data"
    arrays.mkdir(parents=True)
    for name, part in parts.items():
        held = task.sequences(part)
        frames = [held[i][:-1] for i in range(len(held))]
        longest = max(map(len, frames))
        padded = np.stack(
            [np.pad(one, ((0, longest - len(one)), (0, 0)), constant_values=-50) for one in frames]
        )
        np.save(arrays / f"{name}_z.npy", padded)
        np.save(arrays / f"lens_{name}.npy", np.array([len(one) for one in frames]))
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path / "arrays"))
    again = speech("wisdom-2016")
    for part, frames in wanted.items():
        assert all(np.array_equal(again.sequences(part)[i], one) for i, one in enumerate(frames))


def test_recordings_at_16_khz_are_halved_as_by_a_long_filter(tmp_path):
    steps = np.arange(8000)
    tone = 8000 * np.sin(2 * np.pi * 440 * steps / 16000)
    high = 8000 * np.sin(2 * np.pi * 6000 * steps / 16000)  # above what 8 kHz can carry
    path = tmp_path / "x.wav"
    path.write_bytes(sphere(np.rint(tone + high)))
    found = timit.recording(path)
    assert len(found) == 4000
    middle = slice(100, -100)
    assert np.abs(found - resample(tone, 4000))[middle].max() < 100


def test_riff_and_sphere_at_8_khz_are_taken_as_they_are(tmp_path):
    samples = noise(700)
    riff(tmp_path / "a.wav", samples)
    (tmp_path / "b.wav").write_bytes(sphere(samples, rate=8000))
    for name in ("a.wav", "b.wav"):
        assert np.array_equal(timit.recording(tmp_path / name), samples)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (sphere(noise(500), coding="pcm,embedded-shorten-v2.00"), "compressed"),
        (sphere(noise(500))[:-300], "ends after 350 of 500"),
        (sphere(noise(500), rate=44100), "44100 samples a second"),
        (b"OggS" + bytes(100), "neither"),
        (b"RIFF" + struct.pack("<I", 90) + b"WAVEjunk", "x.wav"),
    ],
)
def test_a_recording_of_another_kind_is_refused(content, problem, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=problem):
        timit.recording(path)


def test_spoken_digits_are_split_by_the_number_of_the_recording(require_data, data_folder):
    require_data("spoken_digits")
    task = speech()
    with np.load(data_folder / "spoken_digits.npz") as archive:
        samples, offsets, index = (archive[key] for key in ("samples", "offsets", "index"))
    for part, rows in {
        "train": index >= 10,
        "validation": index // 5 == 1,
        "test": index < 5,
    }.items():
        chosen = np.flatnonzero(rows)
        held = task.sequences(part)
        assert len(held) == len(chosen)
        first = log_power_frames(samples[offsets[chosen[0]] : offsets[chosen[0] + 1]])
        assert np.array_equal(held[0], first)


def test_what_is_known_of_spoken_digits_without_the_file_is_right(require_data, monkeypatch):
    require_data("spoken_digits")
    task = speech()
    measured = task.sequences("train").longest - 1
    frames = task.sequences("test")
    steps = [np.diff(frames[i].astype(np.float64), axis=0) for i in range(len(frames))]
    persistence = (np.concatenate(steps) ** 2).mean()
    assert task.persistence == pytest.approx(persistence, rel=1e-6)
    batch = task.evaluation_set("test", 10**6)
    assert task.loss(batch.inputs, batch.targets).item() == pytest.approx(persistence, rel=1e-5)
    monkeypatch.delenv("LONGHAUL_DATA")
    unread = speech()
    assert unread.length == measured
    assert speech(longest_piece=9).length == 9
    assert unread.baseline == pytest.approx(197.03, abs=0.005)


def test_the_stand_in_says_so_where_its_protocol_is_shown():
    protocol = speech().protocol
    assert protocol.name == "spoken-digits"
    assert "not those of TIMIT" in protocol.summary
    assert "stand-in for timit" in SPOKEN_DIGITS.summary


BROKEN = {
    "no key 'speaker'": lambda held: held.pop("speaker"),
    "expected int16": lambda held: held.update(samples=held["samples"].astype(np.float32)),
    "do not go up": lambda held: held.update(offsets=held["offsets"][::-1]),
    "no test set": lambda held: held.update(index=held["index"] + 5),
    "no training set": lambda held: held.update(index=held["index"] % 10),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_other_recordings_are_refused_with_the_reason(problem, tmp_path, monkeypatch):
    monkeypatch.setenv("LONGHAUL_DATA", str(tmp_path))
    held = {
        "samples": noise(4000),
        "offsets": np.arange(0, 4001, 200),
        "digit": np.zeros(20, np.uint8),
        "speaker": np.array(["george"] * 20),
        "index": np.arange(20, dtype=np.uint8),
    }
    BROKEN[problem](held)
    np.savez(tmp_path / "spoken_digits.npz", **held)
    with pytest.raises(UnusableDataError, match=problem):
        speech().prepare()
    assert status("spoken_digits").state == "found"
