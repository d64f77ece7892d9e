"""Names, paths, links and archive members that try to leave their folder."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longhaul.cli.main import main
from longhaul.errors import RequestError
from longhaul.ledger import Ledger, LocalStorage, StorageError
from longhaul.spec.names import validate_name

BACKUP = Path(__file__).parents[2] / "infra/backup"
NASTY = [
    "",
    ".",
    "..",
    "...",
    "../x",
    "../../x",
    "a/../../x",
    "a/..",
    "/etc/passwd",
    "//host/share",
    "/",
    "~",
    "~root/x",
    "$HOME",
    "`id`",
    "a\0",
    "a\0/../x",
    "a\n",
    "\n",
    "a\r",
    "a\x1b[31m",
    "a\x7f",
    "a\u2028",
    "..\\x",
    "C:\\x",
    "C:x",
    "a\\b",
    "a b",
    " a",
    "a ",
    "a/b",
    "a/",
    "/a",
    "./a",
    ".hidden",
    ".tmp-1",
    "-a",
    "--name",
    "A",
    "ä",
    "а",  # Cyrillic
    "a\u200b",  # no width
    "\u202ea",  # written from the right
    "．．／x",  # full-width
    "a\u2215b",  # a slash of mathematics
    "..%2fx",
    "%2e%2e/x",
    "%252e%252e%252fx",
    "..;/x",
    "file:///etc/passwd",
    "s3://bucket/x",
    "x" * 64,
    "x" * 5000,
    "nul\udc80",  # no UTF-8
    "*",
    "a*",
]
PIECES = ["..", ".", "/", "\\", "\0", "a", "b-1", "%2e", "~", " ", "\n", "ａ", "./", "//", "é"]
ANY_NAME = (
    st.sampled_from(NASTY)
    | st.text(max_size=80)
    | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
)

pytestmark = pytest.mark.attack(5, "names of searches")


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file and folder, links not followed."""
    return {
        str(one.relative_to(folder)): one.read_bytes()
        if one.is_file() and not one.is_symlink()
        else b""
        for one in sorted(folder.rglob("*"))
    }


@given(ANY_NAME)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_name_is_refused_or_stays_in_the_storage(tmp_path_factory, name):
    top = tmp_path_factory.getbasetemp() / "names"
    root = top / "storage"
    root.mkdir(parents=True, exist_ok=True)
    try:
        validate_name(name)
        ledger = Ledger.create(root, name, "task: {name: copying}\n", {})
    except RequestError:
        assert set(os.listdir(top)) == {"storage"}
        return
    folder = Path(ledger.storage.uri)
    assert os.path.commonpath((folder.resolve(), root.resolve())) == str(root.resolve())
    assert folder.parent == root
    assert name.isascii()
    assert name.isprintable()
    assert set(os.listdir(top)) == {"storage"}
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["..", "../x", "/etc/passwd", ".hidden", "а", "a\n", "x" * 64])
def test_no_command_takes_a_nasty_name(name, tmp_path):
    storage = tmp_path / "storage"
    storage.mkdir()
    where = ["--storage", str(storage)]
    for words in (
        ["search", "copying-quickstart", f"--name={name}", *where],
        ["status", *where, "--", name],
        ["export", *where, "--", name, str(tmp_path / "trials.parquet")],
        ["reproduce", *where, "--", name],
    ):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 2, (words, done.output)
        assert len(done.stderr.splitlines()) < 6
    assert snapshot(tmp_path) == {"storage": b""}


@given(ANY_NAME)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.attack(5, "paths of artifacts and checkpoints")
def test_any_path_is_refused_or_stays_in_the_storage(tmp_path_factory, name):
    top = tmp_path_factory.getbasetemp() / "paths"
    top.mkdir(exist_ok=True)
    storage = LocalStorage(top / "storage")
    for path in (name, f"trials/{name}", f"{name}/x"):
        try:
            storage.write(path, b"1")
        except (RequestError, StorageError, ValueError):
            continue
        written = (storage.root / path).resolve()
        assert written.is_relative_to(storage.root.resolve())
        assert storage.read(path) == b"1"
    assert set(os.listdir(top)) <= {"storage"}
    shutil.rmtree(top)


PLACES = ("", "spec.yaml", "events", "owner", "trials", "trials/00000/history")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.attack(5, "links in the storage that lead out of it")
def test_no_command_follows_a_link_out_of_the_storage(place, whole_search, tmp_path):
    target = whole_search.storage / "toy" / place
    outside = tmp_path / "outside" / "moved"
    outside.parent.mkdir()
    shutil.move(target, outside)
    target.symlink_to(outside)
    before = snapshot(outside.parent)
    where = ["--storage", str(whole_search.storage)]
    tracking = ["--tracking-uri", f"sqlite:///{tmp_path}/mlflow/mlflow.db"]
    told = []
    # To take it up again would start Ray before a trial is looked at.
    resume = [] if "trials" in place else [["resume", "toy", "--trials", "9", *where, *tracking]]
    for words in (
        *resume,
        ["status", "toy", *where],
        ["show", "toy", "0", *where],
        ["export", "toy", str(tmp_path / "trials.parquet"), *where],
        ["report", "toy", "--output", str(tmp_path / "report.html"), *where],
        ["reproduce", "toy/0", *where, *tracking],
    ):
        done = CliRunner().invoke(main, words)
        told.append(done.output)
        if done.exit_code == 0:
            continue
        assert done.exit_code == 2, (words, done.output)
        assert "is a link that leaves the storage" in done.output
    assert any("is a link that leaves the storage" in one for one in told)
    assert snapshot(outside.parent) == before


@pytest.mark.parametrize("name", ["report.html", "tracking.log"])
@pytest.mark.attack(5, "links in the storage that lead out of it")
def test_nothing_is_written_through_a_link(name, whole_search, tmp_path):
    from longhaul.tracking import TrackingProcess

    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (whole_search.storage / "toy" / name).symlink_to(precious)
    done = CliRunner().invoke(main, ["report", "toy", "--storage", str(whole_search.storage)])
    assert (done.exit_code == 2) == (name == "report.html")
    process = TrackingProcess(str(whole_search.storage), "toy", "sqlite:////nowhere/mlflow.db")
    if name == "tracking.log":
        with pytest.raises(RequestError, match="leaves the storage"):
            process.start()
    assert precious.read_bytes() == b"precious"


def member(name, kind=tarfile.REGTYPE, link=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
    return entry


@pytest.mark.parametrize(
    "members",
    [
        [member("../escaped")],
        [member("toy/../../escaped")],
        [member("ABSOLUTE/escaped")],
        [member("toy/link", tarfile.SYMTYPE, ".."), member("toy/link/../../escaped")],
        [member("link", tarfile.SYMTYPE, "ABSOLUTE"), member("link/escaped")],
        [member("link", tarfile.LNKTYPE, "../precious"), member("link")],
        [member("device", tarfile.CHRTYPE)],
    ],
    ids=lambda members: " ".join(one.name for one in members),
)
@pytest.mark.attack(5, "members of an archive")
def test_no_member_of_an_archive_leaves_the_folder(members, tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    backup = tmp_path / "backup"
    backup.mkdir()
    with tarfile.open(backup / "ledger.tar", "w") as archive:
        for entry in members:
            entry.name = entry.name.replace("ABSOLUTE", str(tmp_path))
            entry.linkname = entry.linkname.replace("ABSOLUTE", str(tmp_path))
            archive.addfile(entry, io.BytesIO(b"evil") if entry.size else None)
    digest = hashlib.sha256((backup / "ledger.tar").read_bytes()).hexdigest()
    manifest = {"format": 1, "searches": [], "sha256": {"ledger.tar": digest}}
    (backup / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    words = [sys.executable, BACKUP / "restore.py", backup, tmp_path / "restored"]
    subprocess.run(words, capture_output=True, check=False)
    assert {one.name for one in tmp_path.iterdir()} <= {"backup", "precious", "restored"}
    assert (tmp_path / "precious").read_bytes() == b"precious"
    restored = tmp_path / "restored"
    for one in restored.rglob("*"):  # an absolute name may have become a relative one
        assert one.resolve().is_relative_to(restored)
        assert one.is_dir() or one.is_file()


@pytest.mark.attack(5, "links in the storage that lead out of it")
def test_a_backup_does_not_carry_away_what_a_link_shows(whole_search, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("spec.yaml", "password"):
        (secret / name).write_bytes(b"canary")
    storage = whole_search.storage
    (storage / "linked").symlink_to(secret)
    (storage / "toy/password").symlink_to(secret / "password")
    (storage / "toy/more").symlink_to(secret)
    words = [sys.executable, BACKUP / "backup.py", storage, tmp_path / "backups"]
    ours = {key: one for key, one in os.environ.items() if not key.startswith("PG")}
    done = subprocess.run(words, env=ours, capture_output=True, encoding="utf-8", check=True)
    with tarfile.open(Path(done.stdout.strip()) / "ledger.tar") as archive:
        names = archive.getnames()
        assert "toy/spec.yaml" in names
        texts = [archive.extractfile(name).read() for name in names]
    assert [text for text in texts if b"canary" in text] == []
    assert done.stderr.count("is a link and not backed up") == 3
