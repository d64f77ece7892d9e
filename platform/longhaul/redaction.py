"""Takes secrets out of texts that are logged, shown or sent to a server."""

import re

SECRET_NAME = re.compile(r"(?i)secret|token|passw|credential|api_?key|private_?key|access_?key")
"""What the name of a variable, option or key looks like when its value must not be recorded."""

HIDDEN = "***"

_USERINFO = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@'\"]+@")
_ASSIGNMENT = re.compile(
    r"(?i)(?P<name>[\w-]*(?:secret|token|passw|credential|api_?key|private_?key|access_?key)[\w-]*)"
    r"(?P<sign>['\"]?\s*[=:]\s*['\"]?)(?P<value>(?:bearer |basic )?[^\s'\",;&}]+)"
)
_AUTHORIZATION = re.compile(r"(?i)\b(?P<kind>bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


def redact(text: str) -> str:
    """``text`` without the user part of addresses and without values of secret-looking names.

    >>> redact("GET http://ada:hunter2@host/api failed, MLFLOW_TRACKING_TOKEN=abc")
    'GET http://***@host/api failed, MLFLOW_TRACKING_TOKEN=***'
    """
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _ASSIGNMENT.sub(rf"\g<name>\g<sign>{HIDDEN}", text)
    return _AUTHORIZATION.sub(rf"\g<kind> {HIDDEN}", text)
