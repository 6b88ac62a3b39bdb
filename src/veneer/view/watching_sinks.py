"""Who is told that a tag moved: a command of the user's, or a URL."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from veneer.errors import InvalidRequest, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.distribution.retry import Clock
    from veneer.distribution.webhook import Webhook

EXEC_SECONDS = 900.0
"""How long a command may take."""
MOST_SECRET = 4096


class HookFailed(Unavailable):
    """A command that was to be run for a tag that moved ended badly, or not at all."""


class BadSecretFile(InvalidRequest):
    """A file that holds no secret."""


def run_command(command: str, message: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Run a shell command with the message on its standard input.

    Names and digests are its arguments ($1 the name, $2 and $3 the digests before and after) and in VENEER_WATCH_*:
    nothing that a registry says becomes part of a command.  Raises HookFailed.
    """
    before, after = message["before"]["digest"], message["after"]["digest"]
    told = {"EVENT": message["event"], "REFERENCE": message["reference"], "PLATFORM": message["platform"],
            "BEFORE": before, "AFTER": after, "TEXT": message["text"]}  # fmt: skip
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command, "veneer-watch", message["reference"], before, after],
            input=json.dumps(message).encode(), timeout=EXEC_SECONDS, check=False,
            env={**environment, **{f"VENEER_WATCH_{name}": text.replace("\0", "") for name, text in told.items()}},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HookFailed(f"{command!r} was stopped: it ran for more than {EXEC_SECONDS:.0f} s") from None
    except OSError as error:
        raise HookFailed(f"{command!r} cannot be started: {error.strerror}") from None
    if done.returncode != 0:
        how = f"ended with {done.returncode}" if done.returncode > 0 else f"was killed by signal {-done.returncode}"
        raise HookFailed(f"{command!r} {how}")


def send(hook: Webhook, message: dict[str, Any], clock: Clock | None = None) -> None:
    """POST the message.  Whatever is tried again has the same X-Veneer-Delivery.  Raises as `webhook.post`."""
    from veneer.distribution.webhook import post

    body = json.dumps(message, ensure_ascii=True).encode()
    delivery = hashlib.sha256(body).hexdigest()[:32]
    post(hook, body, {"X-Veneer-Event": message["event"], "X-Veneer-Delivery": delivery}, clock=clock)


def read_secret(path: str) -> bytes:
    """The secret that a file holds, without the line's end.  Raises BadSecretFile."""
    try:
        with open(Path(path), "rb") as file:
            found = file.read(MOST_SECRET + 1).rstrip(b"\r\n")
    except OSError as error:
        raise BadSecretFile(f"cannot read {path}: {error.strerror}") from None
    if not found or len(found) > MOST_SECRET:
        raise BadSecretFile(f"{path}: a secret has 1 to {MOST_SECRET} bytes")
    return found
