"""`veneer build`, `veneer image build`, `veneer builder build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from veneer.build.builder import Built
    from veneer.build.request import BuildRequest
    from veneer.cli.build_view import View

PROGRESS = ("auto", "plain", "tty", "quiet", "rawjson")
CALLS = ("build", "check", "outline", "targets")
FORMATS = ("table", "json")


def run(app: App, given: Parsed) -> int:
    import signal

    from veneer.cli.build_flags import request
    from veneer.cli.outfile import ending_when_told
    from veneer.config import environment

    _refuse(given)
    outside = environment()
    wanted = _with_agent(request(given, *_sources(app, given), outside), outside)
    method, format = _call(given)
    if wanted.check or method not in ("", "build"):
        from veneer.cli import build_call

        return build_call.answer(app, "check" if wanted.check else method, wanted, format)
    if given.text("format"):
        raise Failure("--format is the format of --check and --call")
    view = _view(app, given, wanted)
    failed = True
    try:
        with ending_when_told():
            built = app.engine.builds.run(wanted, view, stdout=app.binary_out() if _goes_to_stdout(wanted) else None)
        failed = False
    except (KeyboardInterrupt, SystemExit) as told:
        number = signal.SIGINT if isinstance(told, KeyboardInterrupt) else signal.SIGTERM
        raise Failure("the build was cancelled; the steps that were done are in the cache", 128 + number) from None
    finally:
        view.close(failed=failed)
    _write_files(given, built)
    if _is_quiet(given) and built.image is not None and not _goes_to_stdout(wanted):
        app.line(str(built.image))
    if wanted.dry_run and not _is_quiet(given) and given.text("progress") != "rawjson":
        app.line(f"{built.hits} of {built.steps} steps are in the cache; nothing was built")
    return 0


def _refuse(given: Parsed) -> None:
    """What docker has and veneer does not, said before anything is done."""
    for key in ("attest", "provenance", "sbom"):
        if given.text(key) not in ("", "false"):
            raise Failure(f"--{key} is not supported: veneer writes no attestations")
    for key in ("builder", "isolation"):
        if given.text(key) not in ("", "default"):
            raise Failure(f"--{key} {given.text(key)} is not supported: there is only default")
    if given.texts("security_opt"):
        raise Failure("--security-opt is not supported: RUN --security=insecure and --allow security.insecure are")
    if given.text("progress") not in ("", *PROGRESS):
        raise Failure(f"invalid progress {given.text('progress')!r}: there are {', '.join(PROGRESS)}")
    if given.text("compression") not in ("", "gzip", "zstd", "uncompressed"):
        raise Failure(f"invalid compression {given.text('compression')!r}: there are gzip, zstd, uncompressed")


def _call(given: Parsed) -> tuple[str, str]:
    """What is to be done, and in which format its answer: `--call check,format=json` is buildx's `--format json`."""
    method, comma, words = given.text("call").partition(",")
    name, _, value = words.partition("=")
    if method not in ("", *CALLS) or (comma and name != "format"):
        raise Failure(f"invalid call {given.text('call')!r}: there are {', '.join(CALLS)}, and CALL,format=json")
    format = value or given.text("format") or "table"
    if format not in FORMATS:
        raise Failure(f"invalid format {format!r}: there are {', '.join(FORMATS)}")
    return method, format


def _sources(app: App, given: Parsed) -> tuple[object, str | bytes]:
    """The context and the Dockerfile, as a BuildRequest has them.  What is a directory here is one, whatever its name.

    Source: docker/cli cli/command/image/build.go; docker/buildx build/opt.go.
    """
    from veneer.build.context.address import is_http, is_remote

    where, file = given.arguments[0], given.text("file")
    if where == "-" and file == "-":
        raise Failure("invalid argument: can't use stdin for both build context and dockerfile")
    here = Path(where).is_dir()
    if file == "-":
        dockerfile: str | bytes = app.binary_in().read()
    elif here and file and not is_http(file):
        dockerfile = str(Path(file).absolute())  # the caller's path, not the context's
    else:
        dockerfile = file
    if here:
        return Path(where), dockerfile
    if where == "-":
        if app.stdin.isatty():
            raise Failure("the context is to come from standard input, but that is a terminal")
        return app.binary_in(), dockerfile
    if is_remote(where):
        return where, dockerfile
    why = "not a directory (a Dockerfile is named with -f)" if Path(where).exists() else "no such directory"
    raise Failure(f"unable to prepare context: path {where!r}: {why}")


def _with_agent(wanted: BuildRequest, environment: Mapping[str, str]) -> BuildRequest:
    """A context reached by ssh may use the caller's own agent, as with buildx: nobody else has named it."""
    from veneer.build.context.address import parse_git
    from veneer.cli.build_flags import ssh

    address = parse_git(wanted.context, context=True) if isinstance(wanted.context, str) else None
    if address is None or not address.is_ssh or wanted.ssh or not environment.get("SSH_AUTH_SOCK"):
        return wanted
    return wanted.replaced(ssh=ssh(["default"], environment))


def _is_quiet(given: Parsed) -> bool:
    return given.flag("quiet") or given.text("progress") == "quiet"


def _goes_to_stdout(wanted: BuildRequest) -> bool:
    return any(spec.dest == "-" for spec in wanted.outputs)


def _view(app: App, given: Parsed, wanted: BuildRequest) -> View:
    from veneer.cli import build_view

    out = app.err if _goes_to_stdout(wanted) else app.out
    progress = given.text("progress") or "auto"
    if _is_quiet(given):
        return build_view.Quiet(app.err)
    if progress == "rawjson":
        from veneer.cli.build_raw import Raw

        return Raw(out)
    live = out.isatty()
    if progress == "tty" and not live:
        raise Failure("--progress tty needs a terminal", 1)
    if progress == "tty" or (progress == "auto" and live):
        import shutil

        from veneer.cli.build_terminal import Terminal

        rows = shutil.get_terminal_size().lines
        return Terminal(out, explain=given.flag("explain"), columns=app.columns, rows=rows)
    return build_view.Plain(out, explain=given.flag("explain"), columns=app.columns, live=live)


def _write_files(given: Parsed, built: Built) -> None:
    import json

    if given.text("iidfile") and built.image is not None:
        Path(given.text("iidfile")).write_text(str(built.image))
    if given.text("metadata_file"):
        Path(given.text("metadata_file")).write_text(json.dumps(built.metadata(), indent=2) + "\n")


BUILD = Command(
    run,
    "Build an image from a Dockerfile",
    "[OPTIONS] PATH | URL | -",
    least=1,
    most=1,
    names=("image build", "build", "builder build"),
    options=(
        Option("add-host", "list", 'Add a custom host-to-IP mapping ("host:ip")', many=True),
        Option("allow", "list", 'Allow extra privileged entitlement ("network.host", "security.insecure")', many=True),
        Option("annotation", "list", "Add annotation to the image's manifest", many=True),
        Option("attest", "string", "Attestation parameters (not supported)", hidden=True),
        Option("builder", "string", "Builder instance (there is one: default)", hidden=True),
        Option("build-arg", "list", "Set build-time variables", many=True),
        Option("build-context", "list", 'Additional build contexts (e.g. "name=path")', many=True),
        Option(
            "cache-from", "list", 'External cache sources (e.g. "user/app:cache", "type=local,src=path")', many=True
        ),
        Option("cache-to", "list", 'Cache export destinations (e.g. "type=local,dest=path")', many=True),
        Option(
            "call",
            "string",
            'Set method for evaluating build ("build", "check", "outline", "targets")',
            shown_default='"build"',
        ),
        Option("cgroup-parent", "string", 'Set the parent cgroup for the "RUN" instructions during build'),
        Option("check", "bool", 'Look for mistakes in the Dockerfile without building it (same as "--call=check")'),
        Option("compress", "bool", "Does nothing: the context is read in place", hidden=True),
        Option("compression", "string", 'How written layers are compressed ("gzip", "zstd", "uncompressed")'),
        Option("cpu-period", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
        Option("cpu-quota", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
        Option("c,cpu-shares", "int", "CPU shares (relative weight)"),
        Option("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        Option("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        Option("cpus", "string", 'Number of CPUs the "RUN" instructions may use'),
        Option("disable-content-trust", "bool", "Does nothing: names are not signed", default=True, hidden=True),
        Option("dry-run", "bool", "Only say which steps the cache has and which would be run"),
        Option("explain", "bool", "Say for each step that is not in the cache what differs"),
        Option("f,file", "string", 'Name of the Dockerfile (default: "PATH/Dockerfile")'),
        Option("force-rm", "bool", "Does nothing: no containers are left behind", hidden=True),
        Option("format", "string", 'Format of --check and --call ("table", "json")'),
        Option("iidfile", "string", "Write the image ID to a file"),
        Option("isolation", "string", "Container isolation technology (there is one: default)", hidden=True),
        Option("label", "list", "Set metadata for an image", many=True),
        Option("load", "bool", "Does nothing: the image is in the store anyway", hidden=True),
        Option("m,memory", "bytes", 'Memory limit of the "RUN" instructions'),
        Option("memory-swap", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        Option("metadata-file", "string", "Write build result metadata to a file"),
        Option(
            "network",
            "string",
            'Set the networking mode for the RUN instructions ("default", "none", "host")',
            shown_default='"default"',
        ),
        Option("no-cache", "bool", "Do not use cache when building the image"),
        Option("no-cache-filter", "list", "Do not cache specified stages", many=True),
        Option("o,output", "list", 'Output destination ("type=local|tar|oci|docker|registry,dest=path")', many=True),
        Option("platform", "list", "Set target platform for build", many=True),
        Option(
            "progress",
            "string",
            'Set type of progress output ("auto", "plain", "tty", "quiet", "rawjson")',
            shown_default='"auto"',
        ),
        Option("provenance", "string", "Attestation parameters (not supported)", hidden=True),
        Option("pull", "bool", "Always attempt to pull all referenced images"),
        Option("push", "bool", 'Shorthand for "--output=type=registry"'),
        Option("q,quiet", "bool", "Suppress the build output and print image ID on success"),
        Option("rewrite-timestamp", "bool", "Set files of new layers that are later than SOURCE_DATE_EPOCH to it"),
        Option("rm", "bool", "Does nothing: no containers are left behind", default=True, hidden=True),
        Option("sbom", "string", "Attestation parameters (not supported)", hidden=True),
        Option("secret", "list", 'Secret to expose to the build (e.g. "id=mysecret,src=/local/secret")', many=True),
        Option("security-opt", "list", "Security options (not supported)", many=True, hidden=True),
        Option("shm-size", "bytes", 'Size of "/dev/shm"'),
        Option("source-date-epoch", "string", "Unix time for everything the build dates (default: $SOURCE_DATE_EPOCH)"),
        Option("squash", "bool", "Squash newly built layers into a single new layer"),
        Option(
            "ssh",
            "list",
            'SSH agent socket or keys to expose to the build (e.g. "default|<id>[=<socket>|<key>]")',
            many=True,
        ),
        Option("t,tag", "list", 'Image identifier (e.g. "name:tag")', many=True),
        Option("target", "string", "Set the target build stage to build"),
        Option("ulimit", "list", "Ulimit options", many=True),
        Option("verify", "bool", "Build everything a second time and say what differs"),
    ),
)
