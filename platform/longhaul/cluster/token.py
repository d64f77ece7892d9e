"""The token that a Ray cluster asks everybody for, found where Ray looks for it."""

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from longhaul.errors import RequestError

PLACES = "RAY_AUTH_TOKEN_PATH (a file), or put it into ~/.ray/auth_token"


@dataclass(frozen=True)
class Token:
    """A token and where it was found; its text appears in no message.

    Attributes:
        text: what the cluster is shown.
        origin: the variable or the file that it is from.
        exposed: whether others on this machine can read the file.
    """

    text: str
    origin: str
    exposed: bool = False

    def __repr__(self) -> str:
        return f"Token(origin={self.origin!r})"


def find_token() -> Token | None:
    """The token of this user, in Ray's order: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, the home folder.

    Raises:
        RequestError: a file was named that cannot be read, or that is empty.
    """
    given = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if given:
        return Token(given, "RAY_AUTH_TOKEN")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named:
        return _read(Path(named).expanduser(), f"RAY_AUTH_TOKEN_PATH names {named}")
    usual = Path("~/.ray/auth_token").expanduser()
    return _read(usual, f"{usual}") if usual.exists() else None


def _read(file: Path, what: str) -> Token:
    try:
        text = file.read_text(encoding="utf-8").strip()
        exposed = bool(stat.S_IMODE(file.stat().st_mode) & 0o077)
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "it is no text"
        raise RequestError(
            f"{what}, which cannot be read ({problem}); expected a file with the cluster's token"
        ) from error
    if not text:
        raise RequestError(f"{what}, which is empty; expected the cluster's token")
    return Token(text, str(file), exposed)


def unreachable(address: str, token: Token | None, error: Exception) -> str:
    """Why Ray could not join a cluster; it does not say itself whether it was the token.

    Args:
        address: ``HOST:PORT`` of the head, or ``auto``.
        token: what was shown.
        error: what Ray said.
    """
    host, _, port = address.rpartition(":")
    said = " ".join(str(error).split())
    if not host or not port.isdecimal():
        return f"no cluster at {address}: {said}"
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as problem:
        return f"no cluster at {address}: {problem.strerror or problem}; is its head running?"
    if "version" in said.lower():
        return f"the cluster at {address} is another than this machine can join: {said}"
    return f"{advice(address, token)} (Ray said: {said})"


def advice(cluster: str, token: Token | None) -> str:
    """What to do when a cluster does not let us in.

    Args:
        cluster: its address.
        token: what it was shown, if anything.
    """
    if token is None:
        return (
            f"the cluster at {cluster} asks for a token, and there is none here: name it with "
            f"{PLACES}, readable by you alone"
        )
    return (
        f"the cluster at {cluster} refuses the token from {token.origin}: it is another cluster's, "
        f"or was renewed; ask who runs the cluster, and name the right one with {PLACES}"
    )
