"""Who can reach the Ray that a search runs on, and with which token."""

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from longhaul.cluster.token import find_token, refuse_exposed

TOKEN, TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes Ray, whatever the system, give its node the address 127.0.0.1 and listen there alone.

Otherwise its servers listen on every address of the machine; nothing that `ray.init` is told,
``_node_ip_address="127.0.0.1"`` included, prevents that. Ray reads it when it is imported.
"""

_HEAD = re.compile(rb"--gcs-address=([^\0 ]+)")
"""In the command line of each of a node's processes, the address of its head."""


@contextlib.contextmanager
def private_ray() -> Iterator[None]:
    """While a Ray of this process's own runs: only this machine reaches it, and only with a token.

    The token is made here and ends here. The one that Ray would make by itself, in the user's home
    folder, can be read by everybody who may enter that folder. A token, or no authentication, that
    the user's environment asks for is left as it is.

    Raises:
        RequestError: the environment names a token file that others can read.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_environment(LOOPBACK))
        if os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH):
            token = find_token()
            if token is not None:
                refuse_exposed(token)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longhaul-ray-")))
            stack.callback(_forget_token)
            stack.enter_context(_environment({TOKEN_PATH: str(_new_token(folder))}))
        _forget_token()
        yield


def asked_at(address: str) -> contextlib.AbstractContextManager[None]:
    """While a cluster is joined: Ray asks where it is told to.

    A head that stands alone listens on loopback, and Ray would take the machine's other address for
    one there, which nobody listens at.

    Args:
        address: of the head, as Ray takes it; ``auto``: of the one that Ray finds.
    """
    host = (address if address != "auto" else _auto_address()).rpartition(":")[0]
    return _environment(LOOPBACK if host == "localhost" or host.startswith("127.") else {})


def _auto_address() -> str:
    """Where Ray's ``auto`` leads to, before Ray is imported; nothing where there is no cluster."""
    told = os.environ.get("RAY_ADDRESS")
    if told:
        return told
    running = set()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            running |= {os.fsdecode(one) for one in _HEAD.findall(process.read_bytes())}
    if len(running) == 1:
        return running.pop()
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    with contextlib.suppress(OSError):
        return Path(folder, "ray/ray_current_cluster").read_text(encoding="utf-8").strip()
    return ""


def _new_token(folder: Path) -> Path:
    """A token in a file that only this user may read; the folder is its own already."""
    file = folder / "token"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32))
    return file


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Sets variables, for the processes started meanwhile too, and puts them back."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _forget_token() -> None:
    """Has Ray read the token again: it keeps the first one for as long as the process lives."""
    with contextlib.suppress(ImportError, AttributeError):
        # imported here: 1 s, and Ray may be told only once where to listen
        from ray import _raylet

        _raylet.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]
