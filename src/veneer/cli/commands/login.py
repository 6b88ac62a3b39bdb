"""`veneer login`, `veneer logout`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.oci.reference import DEFAULT_REGISTRY

HUB = "https://index.docker.io/v1/"
"""The name under which docker files Docker Hub, and shows it."""


def _host(server: str) -> str:
    """The registry's host, from a host or a URL."""
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DEFAULT_REGISTRY if host in ("", "index.docker.io", "registry-1.docker.io") else host


def _credentials(app: App, given: Parsed) -> tuple[str, str]:
    """User and password: from the options, from standard input, or asked for on the terminal."""
    user, password = given.text("username"), given.text("password")
    if "password" in given.given:
        if given.flag("password_stdin"):
            raise Failure("conflicting options: cannot specify both --password and --password-stdin")
        app.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if given.flag("password_stdin"):
        if not user:
            raise Failure("the --password-stdin option requires --username to be set")
        password = app.stdin.read().rstrip("\r\n")
        if not password:
            raise Failure("password is required")
    elif "password" in given.given and not password:
        raise Failure("password is empty")
    if not (user and password):
        if not app.stdin.isatty():
            raise Failure("Cannot perform an interactive login from a non TTY device")
        user = user or _ask(app, "Username: ")
        if not user:
            raise Failure("username is required")
        if not password:
            import getpass

            password = getpass.getpass("Password: ", app.err)
    if not password:
        raise Failure("password is required")
    return user, password


def _ask(app: App, question: str) -> str:
    app.out.write(question)
    app.out.flush()
    return app.stdin.readline().strip()


def run_login(app: App, given: Parsed) -> None:
    server = given.arguments[0] if given.arguments else ""
    user, password = _credentials(app, given)
    kept = app.engine.system.login(_host(server), user, password)
    if "/" in kept:  # a file, not a credential helper
        app.warn("")
        app.warn(f"WARNING! Your credentials are stored unencrypted in '{kept}'.")
        app.warn("Configure a credential helper to remove this warning. See")
        app.warn("https://docs.docker.com/go/credential-store/")
        app.warn("")
    app.line("Login Succeeded")


def run_logout(app: App, given: Parsed) -> None:
    host = _host(given.arguments[0] if given.arguments else "")
    shown = HUB if host == DEFAULT_REGISTRY else host
    if app.engine.system.logout(host):
        app.line(f"Removing login credentials for {shown}")
    else:
        app.line(f"Not logged in to {shown}")


LOGIN = Command(
    run_login,
    "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    "[OPTIONS] [SERVER]",
    most=1,
    options=(
        Option("p,password", "string", "Password or Personal Access Token (PAT)"),
        Option("password-stdin", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
        Option("u,username", "string", "Username"),
    ),
    only_looks=True,
)
LOGOUT = Command(
    run_logout,
    "Log out from a registry.\nIf no server is specified, the default is Docker Hub.",
    "[SERVER]",
    most=1,
    only_looks=True,
)
