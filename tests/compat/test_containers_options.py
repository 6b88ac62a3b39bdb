"""`create` with docker's options: the same inspect object, the same words for what cannot be, the same exit status.

Differences on purpose are normalised in one place below, each with its reason.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import Veneer, first_line
from tests.support.peers import Docker
from tests.support.programs import Output

pytestmark = [pytest.mark.compat, pytest.mark.usefixtures("root_only")]
IMAGE = "options:1"
CONFIG = ('CMD ["serve", "-x"]', "ENV A=image C=image", "LABEL a=image c=image", "EXPOSE 7", "VOLUME /data",
          "WORKDIR /tmp", "USER root",
          "HEALTHCHECK --interval=9s --retries=7 CMD true")  # fmt: skip
Run = Callable[..., Output]

SAME = """
-e A=1 -e B -e PATH=/x -l a=b -l c
--entrypoint /bin/echo -w / -u 1:2
--entrypoint=
--entrypoint= --user root:0
-t -i
-i
-a stdout
-a stdin -a stderr -i
--hostname web --domainname example.org
-h web
--memory 64m
--memory 64m --memory-swap 128m --memory-reservation 32m --memory-swappiness 10
--memory 64m --memory-swap -1
--cpus 1.5 --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0
--cpu-period 50000 --cpu-quota 25000
--pids-limit 100
--oom-score-adj 500 --oom-kill-disable -m 64m
--oom-kill-disable
--shm-size 128m
--ulimit nofile=100:200 --ulimit core=0 --ulimit nofile=50
--cap-add NET_ADMIN --cap-add sys_time --cap-drop CHOWN
--cap-drop all --cap-add all
--privileged
--privileged --security-opt seccomp=unconfined
--security-opt no-new-privileges --security-opt seccomp=unconfined
--security-opt systempaths=unconfined
--security-opt label=disable --security-opt apparmor=unconfined
--security-opt no-new-privileges:true --security-opt label:disable
--security-opt seccomp=PLACE/profile.json
--device /dev/null:/dev/x:r --device /dev/zero --device /dev/full:rw --device-cgroup-rule 'c 1:* rwm'
--read-only --tmpfs /run --tmpfs /x:size=1m,mode=700
--init --stop-signal USR1 --stop-timeout 5
--init=false
--restart always
--restart on-failure
--restart on-failure:3
--restart unless-stopped
--rm
--log-opt max-size=1m --log-opt max-file=3
--log-driver none
--network none
--network host
--network host -p 80:80
--network container:peer
--expose 80 --expose 90-92/udp
-p 80 -p 8080:81/udp -p 127.0.0.1:9000-9001:9000-9001
-P --expose 80
-p [::1]:80:80
-p published=8080,target=80,protocol=udp
--dns 1.1.1.1 --dns-option ndots:2 --dns-search example.org --add-host a:1.2.3.4
--ipc host --pid host --uts host --cgroupns host --userns host
--ipc shareable
--ipc none
--ipc container:peer --pid container:peer
--cgroup-parent /foo
--group-add 5 --group-add tty
--sysctl net.core.somaxconn=1024 --sysctl kernel.shmmax=100
--health-cmd false --health-interval 5s --health-timeout 1s --health-retries 2 --health-start-period 1m
--no-healthcheck
--health-interval 3s
-v PLACE/a:/a -v PLACE/new:/b:ro -v named:/n -v /anon -v other:/o:ro,nocopy
-v PLACE/a:/a:rslave -v PLACE/a:/b:z
-v named:/data
-v PLACE/a:/data/
--mount type=bind,source=PLACE/a,target=/a,readonly --mount type=volume,source=named,target=/n
--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700
--mount type=bind,source=PLACE/a,target=/a,bind-propagation=shared --mount type=volume,target=/anon2
--mount type=volume,source=named2,target=/n2,volume-nocopy,volume-label=a=b
--mount source=named,destination=/n,ro
--volumes-from peer
--volumes-from peer:ro
--volumes-from peer -v PLACE/a:/pv
--mac-address 02:42:ac:11:00:99
--env-file PLACE/env --label-file PLACE/labels -e A=last
--cidfile PLACE/id
""".strip().split("\n")

REFUSED = """
--mount type=bind
--mount target=/x,foo=1
--mount type=tmpfs,target=/x,volume-nocopy=1
--mount foo
--mount type=tmpfs,target=/x,tmpfs-mode=9
--mount type=bind,source=/nonexist,target=/x
--mount type=volume,target=/x,readonly=maybe
--mount type=foo,target=/x
--mount type=bind,target=/x
--mount type=bind,source=/tmp,target=x
--mount type=tmpfs,source=a,target=/x
--mount type=volume,target=/
-p foo
-p 80000
-p 1.2.3:80:80
-p 80/foo
-p 80-82:90-91
--expose 1:2
--expose foo
--ulimit foo=1
--ulimit nofile=3:1
--ulimit nofile
--ulimit nofile=x
--device /dev/null:/x:zz
--device :a
--device-cgroup-rule foo
--device-read-bps foo
--device-write-bps /dev/sda:x
--add-host x
--add-host x:y
--restart foo
--restart always:3
--restart on-failure:x
--restart=on-failure:-1
--restart a:b:c
--rm --restart always
-a foo
--cap-add foo
--cap-drop foo
--security-opt foo
--security-opt foo=bar
--security-opt seccomp=/nope
--security-opt no-new-privileges:maybe
--memory 1m
--memory 1x
--memory
--memory-swap 5m
-m 10m --memory-swap 5m
-m 10m --memory-reservation 20m
--cpus 1000
--cpus x
--cpus 1 --cpu-period 1000
--cpu-shares x
--cpu-period 1
--cpu-quota 1
--cpuset-cpus 99
--cpuset-cpus x
--blkio-weight 70000
--memory-swappiness 101
--oom-score-adj 2000
--pids-limit x
--shm-size -1
--pid foo
--pid container:nope
--ipc container:nope
--uts foo
--userns foo
--cgroupns foo
-h x --uts host
--name -x
--name a
--name peer
-e =x
--env-file /nope
--env-file PLACE/spaces
--env-file PLACE/nameless
--env-file PLACE/binary
--label =x
--label-file /nope
--health-interval -1s --health-cmd x
--health-interval 1us
--health-interval x
--no-healthcheck --health-cmd x
--health-retries -1
--log-driver foo
--log-driver none --log-opt a=b
--log-opt foo=bar
--log-opt foo
-v /a:/
-v /a:/b:zz
-v /a:/b:ro:rw
-v ?:/b
-v /a:/b:ro,rw
-v /a:/b -v /c:/b
-v named:/b:rshared
-v /a:/b:nocopy
--tmpfs x
--volumes-from nope
--volumes-from peer:zz
-w rel
--stop-signal FOO
--stop-timeout x
--sysctl foo
--sysctl foo=bar
--mac-address foo
--isolation foo
--storage-opt size=1
--runtime foo
--dns foo
--dns-search ..
--cidfile /nope/x
--cidfile PLACE/env
--network host --network-alias x
--network none --network-alias x
--network container:peer -p 80:80
--network container:peer --hostname x
--network container:peer --dns 1.1.1.1
--network container:peer --add-host a:1.2.3.4
--network container:peer --mac-address 02:42:ac:11:00:99
--network container:peer --expose 80
--tty=maybe
--entrypoint
--foo
-Z
""".strip().split("\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that options name."""
    made = tmp_path_factory.mktemp("options")
    (made / "a").mkdir()
    (made / "env").write_text("\ufeff# c\nX=1\n  Y=2 3\nZ=\n\nHOME\nNOPE\n")
    (made / "labels").write_text("a=b\nc\n#x\nd=e f\n")
    (made / "spaces").write_text("A B=1\n")
    (made / "nameless").write_text("=1\n")
    (made / "binary").write_bytes(b"A=\xff\n")
    (made / "profile.json").write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }\n')
    return made


@pytest.fixture(scope="module")
def engines(docker: Docker, tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[tuple[Run, Run]]:
    """Docker and veneer with one image, and one container called peer."""
    ours = Veneer(tmp_path_factory.mktemp("options") / "root")
    changes = [word for change in CONFIG for word in ("--change", change)]
    for each in (docker, ours):
        each("import", *changes, str(busybox), IMAGE)
        each("create", "--name", "peer", "-v", "/pv", "-v", "named:/pn", "--ipc", "shareable", IMAGE, "true")
    yield docker, ours
    docker("rm", "-fv", "peer")
    docker("volume", "prune", "-f")
    docker("rmi", "-f", IMAGE)


def words(line: str, place: Path) -> list[str]:
    return shlex.split(line.replace("PLACE", str(place)))


def plain(document: dict[str, Any], peer: str) -> dict[str, Any]:
    """An inspect object without what two engines cannot have in common, and without our differences on purpose."""
    text = json.dumps(document).replace(document["Id"], "<id>").replace(document["Id"][:12], "<short>")
    text = re.sub(r'"(/[^"]*)?/volumes/', '"<root>/volumes/', text.replace(peer, "<peer>"))
    for point in document["Mounts"]:
        if len(point.get("Name", "")) == 64:
            text = text.replace(point["Name"], "<anonymous>")
    found: dict[str, Any] = json.loads(text)
    for key in ("Created", "Name", "Image", "GraphDriver", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath",
                "NetworkSettings"):  # fmt: skip
        found.pop(key)
    found["Config"]["Env"] = sorted(found["Config"]["Env"])  # docker has them in a random order
    found["Mounts"].sort(key=lambda point: point["Destination"])  # and these
    host = found["HostConfig"]
    host["Binds"] = sorted(host["Binds"] or ())  # and these
    # Docker's default, host, is of the first version of control groups; veneer hides the host's with both versions.
    host["CgroupnsMode"] = "private" if host["CgroupnsMode"] == "host" else host["CgroupnsMode"]
    host["Runtime"] = ""  # which one it is veneer decides at the start, by what the host then has
    # Docker 28 hides these two as well.
    for path in ("/proc/interrupts", "/sys/devices/virtual/powercap"):
        if host["MaskedPaths"] and path in host["MaskedPaths"]:
            host["MaskedPaths"].remove(path)
    return found


def warnings(output: Output) -> list[str]:
    # What docker's client says before it asks its daemon, who says it again.
    return [line for line in output.err.splitlines() if not line.startswith("WARNING: Disabling the OOM killer")]


@pytest.mark.parametrize("line", SAME)
def test_inspect_shows_what_docker_shows(engines: tuple[Run, Run], place: Path, line: str) -> None:
    found = []
    for run in engines:
        (place / "id").unlink(missing_ok=True)
        made = run("create", *words(line, place), IMAGE, "cmd", "a b")
        container = made.out.strip()
        try:
            [document] = json.loads(run("inspect", container).out)
            peer = run("inspect", "--format", "{{.Id}}", "peer").out.strip()
            written = (place / "id").read_text() == container if "PLACE/id" in line else None
            found.append((list(document), list(document["HostConfig"]), plain(document, peer), warnings(made), written))
        finally:
            run("rm", "-v", container)
    theirs, ours = found
    assert ours[2] == theirs[2]
    assert ours[0] == theirs[0] and ours[3:] == theirs[3:]
    assert set(ours[1]) == set(theirs[1])


def told(output: Output) -> tuple[int, str]:
    """The exit status, and what is wrong; newer clients, and we, end no such sentence with a full stop."""
    line = first_line(output.err).removeprefix("docker: ").removeprefix("Error response from daemon: ")
    line = re.sub(r"by container \"[0-9a-f]{64}\"", "by container <id>", line.removesuffix("."))
    return output.code, line.lower()


@pytest.mark.parametrize("line", REFUSED)
def test_what_docker_refuses_is_refused_in_its_words(engines: tuple[Run, Run], place: Path, line: str) -> None:
    theirs, ours = (run("create", *words(line, place), IMAGE, "true", check=False) for run in engines)
    assert told(ours) == told(theirs)
    assert ours.code in (1, 125) and ours.out == theirs.out == ""


RUNS = """
run --rm --network none IMAGE sh -c 'echo out; echo err >&2; exit 3'
run --rm --network none IMAGE nope
run --rm --network none IMAGE /etc
run --rm --network none IMAGE /etc/passwd
run --rm --network none --user nosuch IMAGE true
run --rm --network none -w /new/dir IMAGE pwd
run --rm --network none -u 5:6 --group-add 7 IMAGE id -G
run --rm --network none -e X=1 -e A -h web IMAGE env
run --rm --network none -d --rm=false --name x IMAGE true
run --name x IMAGE true
run -d -a stdout IMAGE true
run -it IMAGE true
run --pull never nosuch:1 true
run --rm --network none --init IMAGE true
run --rm --network none --entrypoint /bin/echo IMAGE hello
run --rm --network none -i IMAGE cat
run --rm --network none --read-only IMAGE touch /x
run --rm --network none --read-only --tmpfs /run IMAGE sh -c 'touch /run/x /dev/shm/x && echo both'
run --rm --network none -v named:/n IMAGE sh -c 'cat /n/file; echo more >/n/file'
run --rm --network none --mount source=named,target=/n,readonly IMAGE sh -c 'echo x >/n/file'
run --rm --network none --cap-drop ALL IMAGE chown 1 /tmp
run --rm --network none --ulimit nofile=77 IMAGE sh -c 'ulimit -n'
run --rm --network none --hostname web --domainname example.org IMAGE hostname -f
rm -f x
rm -v nosuch
rename nosuch y
rename peer other
rename other peer
volume create vol1
volume create vol1
volume create a
volume create -d foo vol2
volume create -o foo=bar vol2
volume create --label a=b vol2
volume ls -q
volume ls --filter label=a -q
volume ls --filter dangling=true --format {{.Driver}}/{{.Name}}
volume ls --filter foo=bar
volume ls --format '{{.Name}} {{.Labels}} {{.Links}} {{.Scope}} {{.Label "a"}}'
volume inspect --format '{{.Name}} {{.Driver}} {{.Labels}} {{.Options}} {{.Scope}}' vol2 nosuch
volume rm vol2 nosuch
volume rm named
volume rm -f nosuch
inspect nosuch
inspect --type foo peer
inspect --type volume peer
inspect --format {{.Name}} peer
inspect --format {{.Name}} vol1
container inspect nosuch
container inspect --format '{{.State.Status}} {{.HostConfig.NetworkMode}} {{json .Config.Cmd}} {{len .Mounts}}' peer
ps -aq --filter name=nosuch
ps -a --format '{{.Names}} {{.Image}} {{.Command}} {{.Status}} {{.State}} {{.Ports}} {{.Labels}} {{.Label "a"}}'
ps -a --no-trunc --format '{{.Names}} {{.Command}}'
ps -a --format 'table {{.Names}}\\t{{.LocalVolumes}}\\t{{.Label "com.example.some-thing"}}'
ps -a --filter status=created --format {{.Names}}
ps -a --filter status=foo
ps -a --filter health=foo
ps -a --filter exited=foo
ps -a --filter foo=bar
ps -a --filter publish=foo
ps -a --filter expose=7 --format {{.Names}}
ps -a --filter volume=named --format {{.Names}}
ps -a --filter ancestor=IMAGE --format {{.Names}}
ps -a --filter label=a=image --filter label=c --format {{.Names}}
ps -a --filter is-task=x
ps -n 1 --format {{.Names}}
ps --last=-1 --format {{.Names}}
ps -l --format {{.Names}}
container prune -f --filter foo=bar
volume prune -f --filter foo=bar
""".strip().split("\n")


def answer(output: Output) -> tuple[int, str, list[str]]:
    def tidy(text: str) -> str:
        text = (
            re.sub(r"\b[0-9a-f]{64}\b", "<id>", text).replace("docker:", "").replace("Error response from daemon: ", "")
        )
        text = re.sub(r"(OCI runtime create failed|failed to create shim task): .*?(exec: .*): unknown", r"\2", text)
        # Docker tells labels in the order of a Go map, which is another each time.
        text = re.sub(r"\w+=\w*(,\w+=\w*)+", lambda found: ",".join(sorted(found[0].split(","))), text)
        # Docker marks volumes that nobody named so since version 23.
        return text.replace("com.docker.volume.anonymous=", "")

    shown = [
        re.sub(r"^(Error: |failed to execute template: |template parsing error: )+", "", tidy(line).strip()).rstrip(".")
        for line in output.err.splitlines()
        if line and not line.startswith(("hint:", "See 'docker", "Usage:", "Run 'veneer", "time="))
    ]
    return output.code, tidy(output.out), [line[:1].lower() + line[1:] for line in shown if line]


def test_what_commands_print_is_what_docker_prints(engines: tuple[Run, Run]) -> None:
    """One after the other on both engines: output, errors and exit status are the same."""
    differences = []
    for line in RUNS:
        theirs, ours = (answer(run(*shlex.split(line.replace("IMAGE", IMAGE)), check=False)) for run in engines)
        if theirs != ours:
            differences.append(f"{line}\n    docker: {theirs}\n    veneer: {ours}")
    assert not differences, "\n".join(differences)
