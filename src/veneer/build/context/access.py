"""What fetching for a build may use, and whom it tells."""

from __future__ import annotations

from veneer.progress import silent
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from veneer.build.request import SecretSource
    from veneer.config import Config
    from veneer.progress import Progress


class Access(Value):
    """`secrets` are the build's (BuildRequest), `ssh` the sockets of its agents by ID; `memory` is the store's folder
    of what contexts were like, None: nothing is remembered.  `progress` is told now and then and may raise Cancelled.
    """

    config: Config
    secrets: tuple[SecretSource, ...] = ()
    ssh: tuple[tuple[str, str], ...] = ()
    memory: Path | None = None
    progress: Progress = silent

    def secret(self, name: str) -> bytes | None:
        """A secret of the build by its id."""
        for each in self.secrets:
            if each.id == name:
                return each.content
        return None

    @property
    def agent(self) -> str:
        """The socket of the ssh agent that may be used, `--ssh default`; "" if there is none."""
        return dict(self.ssh).get("default", "")
