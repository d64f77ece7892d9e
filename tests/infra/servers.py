"""PostgreSQL and MLflow's server as infra/ starts them, in folders of their own, on loopback."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PASSWORD = "only-of-this-test 100%"  # with signs that an address must quote


def free_port() -> int:
    """A port of the loopback device that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def postgres(folder: Path) -> Iterator[dict[str, str]]:
    """A new PostgreSQL with a user and an empty database ``mlflow``; what its clients need."""
    folder.mkdir(parents=True)
    mine = folder / "postgres_password"
    mine.write_text(PASSWORD, encoding="utf-8")
    # pytest's folders are for nobody else, the user of the database included.
    home, port = Path(tempfile.mkdtemp(prefix="longhaul-postgres-")), free_port()
    data, password = home / "data", home / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    as_user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(home, "postgres")
        shutil.chown(password, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    tools = BINARIES[-1]
    words = [tools / "initdb", "-D", data, "-U", "mlflow", "-A", "scram-sha-256"]
    subprocess.run(
        [*as_user, *words, f"--pwfile={password}", "-N"], check=True, capture_output=True
    )
    options = f"-h 127.0.0.1 -p {port} -k {home} -F"
    control = [*as_user, tools / "pg_ctl", "-D", data, "-w", "-l", home / "log"]
    subprocess.run([*control, "-o", options, "start"], check=True, capture_output=True)
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "mlflow"}
    environment |= {"PGDATABASE": "mlflow", "PGPASSWORD_FILE": str(mine)}
    try:
        made = {**os.environ, **environment, "PGPASSWORD": PASSWORD}
        subprocess.run([tools / "createdb", "mlflow"], env=made, check=True)
        yield environment
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=False, capture_output=True)
        shutil.rmtree(home)


@contextmanager
def tracking(folder: Path, database: dict[str, str], artifacts: Path) -> Iterator[dict[str, str]]:
    """MLflow's server as serve.sh starts it; what its clients need."""
    secrets = folder / "secrets"
    secrets.mkdir(parents=True, mode=0o700)
    texts = {
        "postgres_password": PASSWORD,
        "mlflow_secret_key": "signs the sessions of this test",
        "mlflow_admin_password": "first user's password",
    }
    for name, text in texts.items():
        (secrets / name).write_text(text, encoding="utf-8")
    port = free_port()
    own = {"MLFLOW_PORT": str(port), "MLFLOW_ALLOWED_HOSTS": f"127.0.0.1:{port}"}
    own |= {"MLFLOW_ARTIFACTS": str(artifacts), "SECRETS": str(secrets), "MLFLOW_WORKERS": "1"}
    log = (folder / "log").open("w", encoding="utf-8")
    server = subprocess.Popen(
        [ROOT / "infra/tracking/serve.sh", "serve"],
        env={**os.environ, **database, **own},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _await(f"{address}/health", server, folder / "log")
        yield {
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": texts["mlflow_admin_password"],
        }
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def _await(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.25)
    raise AssertionError(log.read_text(encoding="utf-8"))
