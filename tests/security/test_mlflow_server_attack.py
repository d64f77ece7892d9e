"""MLflow's server as infra/ starts it, probed by somebody without a password, and by other sites.

Needs PostgreSQL.
"""

import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "infra/tracking/serve.sh"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.attack(4, "every route, without a password"),
]

INFO = {"/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"}
OPEN = {"/health", "/static-files/index.html"} | INFO
"""What everybody may ask: whether the server lives, the files of its pages, and what a client must
know before it shows a password."""
BODY = json.dumps(
    {
        "name": "made-by-an-attacker",
        "experiment_id": "0",
        "experiment_ids": ["0"],
        "username": "mallory",
        "password": "of mallory's choice",
        "run_id": "0" * 32,
        "query": "{__typename}",
        "path": "x",
    }
).encode()
# Beside what Flask knows: parts that are served by FastAPI, and what was forgotten in the past.
FURTHER = [
    ("GET", "/version"),
    ("GET", "/metrics"),
    ("POST", "/graphql"),
    ("GET", "/ajax-api/3.0/jobs"),
    ("POST", "/ajax-api/3.0/jobs/"),
    ("GET", "/ajax-api/3.0/jobs/search"),
    ("POST", "/v1/traces"),
    ("GET", "/gateway/routes"),
    ("POST", "/gateway/mlflow/v1/chat/completions"),
    ("POST", "/gateway/x/invocations"),
    ("POST", "/api/2.0/mlflow/users/create"),
    ("GET", "/signup"),
    ("GET", "/"),
    ("GET", "/static-files/index.html"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/openapi.json"),
    ("GET", "/get-artifact?path=x&run_uuid=" + "0" * 32),
    ("GET", "/model-versions/get-artifact?path=x&name=x&version=1"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/../../etc/passwd"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/%2e%2e/%2e%2e/etc/passwd"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/x"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/x"),
]


def load_servers():
    path = ROOT / "tests/infra/servers.py"
    spec = importlib.util.spec_from_file_location("servers_to_attack", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def routes() -> list[tuple[str, str]]:
    """Every method and path that MLflow's server knows, read off its own tables."""
    code = """
import json
from mlflow.server import app
from mlflow.server.fastapi_app import create_fastapi_app
from mlflow.server.handlers import get_endpoints
found = {(method, path) for path, _, methods in get_endpoints() for method in methods}
found |= {(m, str(r)) for r in app.url_map.iter_rules() for m in r.methods}
found |= {
    (m, r.path) for r in create_fastapi_app().routes for m in getattr(r, "methods", None) or ()
}
print(json.dumps(sorted(found)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    return [tuple(one) for one in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    servers = load_servers()
    if not servers.BINARIES:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        here = f"{Path(sys.executable).parent}:{servers.BINARIES[-1]}:{os.environ['PATH']}"
        patch.setenv("PATH", here)
        # What careless people set, and what asks for the opposite.
        patch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
        patch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
        with (
            servers.postgres(folder / "db") as database,
            servers.tracking(folder / "mlflow", database, folder / "artifacts") as client,
        ):
            yield Server(client, folder)


class Server:
    def __init__(self, client, folder):
        self.address = client["MLFLOW_TRACKING_URI"]
        self.admin = client["MLFLOW_TRACKING_USERNAME"], client["MLFLOW_TRACKING_PASSWORD"]
        self.folder = folder

    def ask(self, method, path, user=None, body=BODY, **headers):
        """Status, headers and text of the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"Content-Type": "application/json"}
        if user is not None:
            word = base64.b64encode(":".join(user).encode()).decode()
            named |= {"Authorization": f"Basic {word}"}
        data = None if method in ("GET", "HEAD") else body
        request = urllib.request.Request(self.address + path, data, named, method=method)
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def concrete(path: str) -> str:
    """A route with something in the place of each variable."""
    return re.sub(r"<[^>]*>|\{[^}]*\}", "1", path)


def test_no_route_answers_without_a_password(server):
    probed = {(method, concrete(path)) for method, path in [*routes(), *FURTHER]}
    assert len(probed) > 150
    answered = {}
    for method, path in sorted(probed):
        if method in ("HEAD", "OPTIONS"):
            continue
        status = server.ask(method, path)[0]
        if status != 401 and path not in OPEN:
            answered[method, path] = status
    # Nothing is there, or the address is not one: that tells nobody anything.
    harmless = {404, 405, 400, 308, 307}
    assert {one: code for one, code in answered.items() if code not in harmless} == {}
    assert server.ask("GET", "/health")[0] == 200


def test_what_is_told_without_a_password_is_what_the_server_can_do(server):
    for path in INFO:
        status, _, text = server.ask("GET", path)
        assert status == 200
        told = json.loads(text)
        assert told.pop("store_type") == "SqlStore"
        told |= told.pop("features_enabled")
        assert {type(one) for one in told.values()} == {bool}, told


@pytest.mark.parametrize(
    "user",
    [
        ("admin", "password1234"),
        ("admin", "password"),
        ("admin", ""),
        ("admin", "admin"),
        ("", ""),
        ("mallory", "of mallory's choice"),
        ("admin' OR '1'='1", "x"),
    ],
)
def test_no_guessed_password_is_taken(server, user):
    assert server.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", user)[0] == 401


def test_a_new_user_may_see_nothing_that_was_not_granted(server):
    create = "/api/2.0/mlflow/experiments/create"
    status, _, text = server.ask("POST", create, server.admin, b'{"name": "private"}')
    assert status == 200, text
    number = json.loads(text)["experiment_id"]
    user = ("bob", "a password of bob's own")
    body = json.dumps({"username": user[0], "password": user[1]}).encode()
    status, _, text = server.ask("POST", "/api/2.0/mlflow/users/create", server.admin, body)
    assert status == 200, text
    get = f"/api/2.0/mlflow/experiments/get?experiment_id={number}"
    assert server.ask("GET", get, server.admin)[0] == 200
    assert server.ask("GET", get, user)[0] == 403
    body = json.dumps({"experiment_id": number}).encode()
    for path in ("runs/create", "experiments/delete", "experiments/update"):
        assert server.ask("POST", f"/api/2.0/mlflow/{path}", user, body)[0] == 403, path
    body = json.dumps({"max_results": 100}).encode()
    seen = server.ask("POST", "/api/2.0/mlflow/experiments/search", user, body)[2]
    assert b"private" not in seen


@pytest.mark.attack(4, "names and origins of other sites")
def test_other_names_and_origins_are_refused(server):
    path, body = "/api/2.0/mlflow/experiments/search", b'{"max_results": 5}'
    assert server.ask("POST", path, server.admin, body)[0] == 200
    for host in ("evil.example", "192.168.0.7:5000", "10.0.0.1", "127.0.0.1.evil.example"):
        assert server.ask("POST", path, server.admin, body, Host=host)[0] == 403, host
    for origin in ("http://evil.example", "https://127.0.0.1.evil.example", "null"):
        assert server.ask("POST", path, server.admin, body, Origin=origin)[0] == 403, origin
    _, headers, _ = server.ask("GET", "/", server.admin)
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.attack(4, "paths of artifacts that climb")
@pytest.mark.parametrize("climb", ["../", "%2e%2e/", "%252e%252e/", "..%2f", "..\\", "/"])
def test_no_artifact_path_climbs(server, climb):
    path = f"/api/2.0/mlflow-artifacts/artifacts/{climb * 6}etc/passwd"
    status, _, text = server.ask("GET", path, server.admin)
    assert status != 200
    assert b"root:" not in text


@pytest.mark.attack(4, "passwords in arguments and logs of the server")
def test_no_password_is_in_its_log_or_arguments(server, watch):
    secrets = [one.read_text(encoding="utf-8") for one in server.folder.rglob("secrets/*")]
    assert len(secrets) == 3
    log = (server.folder / "mlflow/log").read_text(encoding="utf-8")
    # The server is a child of this process.
    eyes = watch(os.getpid())
    eyes.look()
    assert any("basic-auth" in one or "mlflow.server" in one for one in eyes.command_lines)
    for secret in secrets:
        assert secret not in log
        assert [one for one in eyes.command_lines if secret in one] == []


@pytest.mark.attack(4, "starting it without a password")
@pytest.mark.parametrize("missing", ["mlflow_admin_password", "mlflow_secret_key"])
@pytest.mark.parametrize("how", ["it is not there", "is empty"])
def test_it_does_not_start_without_its_secrets(missing, how, tmp_path):
    for name in ("postgres_password", "mlflow_secret_key", "mlflow_admin_password"):
        (tmp_path / name).write_text("a secret of this test", encoding="utf-8")
    (tmp_path / missing).unlink()
    if how == "is empty":
        (tmp_path / missing).touch()
    words = {"MLFLOW_ALLOWED_HOSTS": "h", "MLFLOW_ARTIFACTS": "a", "SECRETS": str(tmp_path)}
    words |= {"PGHOST": "h", "PGUSER": "u", "PGDATABASE": "d", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [SERVE, "serve"], env=words, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    assert missing in done.stderr
    assert how in done.stderr
