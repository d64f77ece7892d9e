import click
import pytest
from click.testing import CliRunner

from longhaul.cli.options import (
    default_tracking_uri,
    json_option,
    set_option,
    storage_option,
    tracking_option,
)
from longhaul.cli.searching import place_options
from longhaul.errors import RequestError
from longhaul.search.driver import Place


def test_the_database_lies_beside_the_storage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = f"sqlite:///{tmp_path}/mlflow.db"
    assert default_tracking_uri("./longhaul-runs") == expected
    assert default_tracking_uri(f"{tmp_path}/longhaul-runs/") == expected
    assert default_tracking_uri(f"file://{tmp_path}/longhaul-runs") == expected
    with_blank = default_tracking_uri(f"file://{tmp_path}/a%20b/runs")
    assert with_blank == f"sqlite:///{tmp_path}/a b/mlflow.db"


def test_a_remote_storage_needs_an_address_for_tracking():
    with pytest.raises(RequestError, match="--tracking-uri"):
        default_tracking_uri("s3://bucket/runs")


@click.command()
@tracking_option
@set_option
@json_option
@storage_option
def probe(storage: str, tracking_uri: str, changes: tuple[str, ...], as_json: bool) -> None:
    click.echo(f"{storage} {tracking_uri} {changes} {as_json}")


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        ([], {}, "./longhaul-runs sqlite:///{here}/mlflow.db () False"),
        (
            ["--set", "a=1", "--set", "b=2", "--json"],
            {"LONGHAUL_STORAGE": "/data/runs"},
            "/data/runs sqlite:////data/mlflow.db ('a=1', 'b=2') True",
        ),
        (
            ["--storage", "s3://b/runs"],
            {"MLFLOW_TRACKING_URI": "http://localhost:5000"},
            "s3://b/runs http://localhost:5000 () False",
        ),
        (
            # In this order: the default must see a storage that is given after it was declared.
            ["--tracking-uri", "", "--storage", "/x/y"],
            {},
            "/x/y sqlite:////x/mlflow.db () False",
        ),
    ],
)
def test_defaults_and_environment(tmp_path, monkeypatch, arguments, env, expected):
    monkeypatch.chdir(tmp_path)
    for name in ("LONGHAUL_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(probe, arguments, env=env, catch_exceptions=False)
    assert result.stdout.strip() == expected.format(here=tmp_path)


@pytest.mark.parametrize(
    ("storage", "tracking", "options"),
    [
        ("./longhaul-runs", None, ("", "")),
        ("/else/runs", "sqlite:////else/mlflow.db", (" --storage /else/runs", "")),
        (
            "s3://bucket/runs",
            "http://key:secret@mlflow:5000",
            (" --storage s3://bucket/runs", " --tracking-uri http://***@mlflow:5000"),
        ),
    ],
)
def test_the_next_commands_name_what_cannot_be_guessed(storage, tracking, options):
    place = Place(storage, tracking or default_tracking_uri(storage))
    assert place_options(place) == options
