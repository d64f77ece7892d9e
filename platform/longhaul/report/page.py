"""The page."""

from typing import Any


def render(ledger: Any, record: Any, storage_uri: str) -> str:
    """The report."""
    return "<html></html>"
