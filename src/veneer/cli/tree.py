"""Every command there is: its name, the module that holds it, and the line the help shows.

A module is imported only when its command runs; so the names and summaries stand here, and a test keeps them equal to
what the modules say.
"""

from __future__ import annotations

from collections.abc import Mapping

PACKAGE = "veneer.cli.commands"


class Leaf:
    """A command: `module` of PACKAGE and the attribute of it that holds the Command."""

    __slots__ = ("about", "attribute", "module")

    def __init__(self, module: str, attribute: str, about: str) -> None:
        self.module = module
        self.attribute = attribute
        self.about = about


class Group:
    """Commands under one noun.  `aliases` maps further names, which the help leaves out, to one of `leaves`."""

    __slots__ = ("about", "aliases", "leaves")

    def __init__(self, about: str, leaves: Mapping[str, Leaf], aliases: Mapping[str, str]) -> None:
        self.about = about
        self.leaves = leaves
        self.aliases = aliases


_BADGE = Leaf("badge", "BADGE", "Draw a badge that tells one fact of an image")
_BUILD = Leaf("build", "BUILD", "Build an image from a Dockerfile")
_HISTORY = Leaf("history", "HISTORY", "Show the history of an image")
_IMPORT = Leaf("import_", "IMPORT", "Import the contents from a tarball to create a filesystem image")
_INSPECT_IMAGE = Leaf("inspect", "INSPECT_IMAGE", "Display detailed information on one or more images")
_LOAD = Leaf("load", "LOAD", "Load an image from a tar archive or STDIN")
_IMAGES = Leaf("images", "IMAGES", "List images")
_PEEL = Leaf("peel", "PEEL", "Peel an image in the terminal: layers, files at any depth, histories, waste, a map")
_PORT = Leaf("port", "PORT", "List port mappings or a specific mapping for the container")
_PULL = Leaf("pull", "PULL", "Download an image from a registry")
_PUSH = Leaf("push", "PUSH", "Upload an image to a registry")
_REMOVE = Leaf("remove", "REMOVE", "Remove one or more images")
_SAVE = Leaf("save", "SAVE", "Save one or more images to a tar archive (streamed to STDOUT by default)")
_TAG = Leaf("tag", "TAG", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE")
_RUN = Leaf("run", "RUN", "Create and run a new container from an image")
_CREATE = Leaf("run", "CREATE", "Create a new container")
_ATTACH = Leaf(
    "container_attach", "ATTACH", "Attach local standard input, output, and error streams to a running container"
)
_EXEC = Leaf("container_attach", "EXEC", "Execute a command in a running container")
_KILL = Leaf("container_life", "KILL", "Kill one or more running containers")
_LOGS = Leaf("container_logs", "LOGS", "Fetch the logs of a container")
_PS = Leaf("ps", "PS", "List containers")
_RENAME = Leaf("container", "RENAME", "Rename a container")
_REMOVE_CONTAINER = Leaf("container", "REMOVE", "Remove one or more containers")
_PAUSE = Leaf("container_life", "PAUSE", "Pause all processes within one or more containers")
_RESTART = Leaf("container_life", "RESTART", "Restart one or more containers")
_START = Leaf("container_start", "START", "Start one or more stopped containers")
_STATS = Leaf("container_stats", "STATS", "Display a live stream of container(s) resource usage statistics")
_STOP = Leaf("container_life", "STOP", "Stop one or more running containers")
_TOP = Leaf("container_top", "TOP_COMMAND", "Display the running processes of a container")
_UNPAUSE = Leaf("container_life", "UNPAUSE", "Unpause all processes within one or more containers")
_UPDATE = Leaf("container_update", "UPDATE", "Update configuration of one or more containers")
_COMMIT = Leaf("container_layer", "COMMIT", "Create a new image from a container's changes")
_COPY = Leaf("container_copy", "COPY", "Copy files/folders between a container and the local filesystem")
_DIFF = Leaf("container_layer", "DIFF", "Inspect changes to files or directories on a container's filesystem")
_WAIT = Leaf("container_life", "WAIT", "Block until one or more containers stop, then print their exit codes")
_INFO = Leaf("info", "INFO", "Display system-wide information")
_EXPORT = Leaf("export", "EXPORT", "Export an image's filesystem as a tar archive")

GROUPS: Mapping[str, Group] = {
    "builder": Group(
        "Manage builds",
        {
            "build": _BUILD,
            "du": Leaf("builder", "DISK_USAGE_BUILDER", "Show what the build cache takes"),
            "prune": Leaf("builder", "PRUNE_BUILDER", "Remove build cache"),
        },
        {},
    ),
    "container": Group(
        "Manage containers",
        {
            "attach": _ATTACH,
            "commit": _COMMIT,
            "cp": _COPY,
            "create": _CREATE,
            "diff": _DIFF,
            "exec": _EXEC,
            "export": Leaf("export", "EXPORT_CONTAINER", "Export a container's filesystem as a tar archive"),
            "inspect": Leaf("container", "INSPECT_CONTAINER", "Display detailed information on one or more containers"),
            "kill": _KILL,
            "layers": Leaf(
                "container_layer", "LAYERS", "Show the stack of a container: its image's layers, then its own"
            ),
            "logs": _LOGS,
            "ls": _PS,
            "pause": _PAUSE,
            "port": _PORT,
            "prune": Leaf("container", "PRUNE_CONTAINERS", "Remove all stopped containers"),
            "rename": _RENAME,
            "reset": Leaf("container_layer", "RESET", "Drop everything that stopped containers have written"),
            "restart": _RESTART,
            "rm": _REMOVE_CONTAINER,
            "run": _RUN,
            "snapshot": Leaf(
                "container_layer",
                "SNAPSHOT",
                "Make an image of a container as it stands: only its own layer is written",
            ),
            "start": _START,
            "stats": _STATS,
            "stop": _STOP,
            "top": _TOP,
            "unpause": _UNPAUSE,
            "update": _UPDATE,
            "wait": _WAIT,
        },
        {"list": "ls", "remove": "rm", "ps": "ls"},
    ),
    "image": Group(
        "Manage images",
        {
            "badge": _BADGE,
            "base": Leaf("image_origins", "BASE", "Show which image an image was built on"),
            "build": _BUILD,
            "cat": Leaf("image_contents", "CAT", "Print a file of an image, as any of its layers has it"),
            "catalog": Leaf("image_names", "CATALOG", "Show the repositories of a registry, where it tells them"),
            "compare": Leaf("image_compare", "COMPARE", "Show which layers several images share"),
            "cost": Leaf("image_cost", "COST", "Show what an image, or paths in it, cost on the disk and to pull"),
            "diff": Leaf("image_diff", "DIFF", "Show how two images differ: files, configuration, history"),
            "dockerfile": Leaf("recover", "DOCKERFILE", "Show the Dockerfile of an image, from its history"),
            "explain": Leaf("image_explain", "EXPLAIN", "Tell in words what an image is, runs, holds and wastes"),
            "export": _EXPORT,
            "extract": Leaf("image_contents", "EXTRACT", "Take a file, or a directory as a tar, out of an image"),
            "find": Leaf("image_find", "FIND", "Show what each layer did to a file: who added, changed and deleted it"),
            "history": _HISTORY,
            "identical": Leaf(
                "image_names",
                "IDENTICAL",
                "Show the images here that are the same: in all, in their layers, or in their files",
            ),
            "import": _IMPORT,
            "inspect": _INSPECT_IMAGE,
            "labels": Leaf("image_origins", "LABELS", "Show an image's labels and annotations"),
            "layers": Leaf("image_layers", "LAYERS", "Show an image's layers: what made each, its size and waste"),
            "load": _LOAD,
            "ls": _IMAGES,
            "packages": Leaf(
                "image_packages", "PACKAGES", "Show which packages an image's files belong to, and what they take"
            ),
            "peel": _PEEL,
            "prune": Leaf("prune", "PRUNE_IMAGES", "Remove unused images"),
            "pull": _PULL,
            "purge": Leaf("purge", "PURGE", "Make a new image with files taken out of every layer"),
            "push": _PUSH,
            "rebase": Leaf("rebase", "REBASE", "Make a new image with an image's own layers on another base"),
            "rm": _REMOVE,
            "save": _SAVE,
            "shared": Leaf("image_compare", "SHARED", "Show the layers of all images as a tree, by what they share"),
            "squash": Leaf("squash", "SQUASH", "Make a new image with a range of an image's layers as one"),
            "tag": _TAG,
            "tags": Leaf("image_names", "TAGS", "Show a repository's tags, those of one image together"),
            "tree": Leaf("image_tree", "TREE", "Show an image's files as a tree, after any of its layers"),
            "waste": Leaf("image_waste", "WASTE", "Show what an image stores and does not show"),
        },
        {"list": "ls", "remove": "rm"},
    ),
    "layer": Group(
        "Look at layers",
        {
            "inspect": Leaf("layer", "INSPECT_LAYER", "Display detailed information on one or more layers"),
            "ls": Leaf("layer", "LIST_LAYERS", "List layers"),
            "which": Leaf("layer", "WHICH_LAYER", "Show which layer a path on disk belongs to, and who uses it"),
        },
        {"list": "ls"},
    ),
    "network": Group(
        "Manage networks",
        {
            "connect": Leaf("network", "CONNECT_NETWORK", "Connect a container to a network"),
            "create": Leaf("network", "CREATE_NETWORK", "Create a network"),
            "disconnect": Leaf("network", "DISCONNECT_NETWORK", "Disconnect a container from a network"),
            "inspect": Leaf("network", "INSPECT_NETWORK", "Display detailed information on one or more networks"),
            "ls": Leaf("network", "LIST_NETWORKS", "List networks"),
            "prune": Leaf("network", "PRUNE_NETWORKS", "Remove all unused networks"),
            "rm": Leaf("network", "REMOVE_NETWORK", "Remove one or more networks"),
        },
        {"list": "ls", "remove": "rm"},
    ),
    "system": Group(
        "Manage the store",
        {
            "check": Leaf("check", "CHECK", "Check that everything stored is whole"),
            "df": Leaf("disk_usage", "DISK_USAGE", "Show disk usage"),
            "events": Leaf("events", "EVENTS", "Get real time events from the store"),
            "info": _INFO,
            "migrate": Leaf("migrate", "MIGRATE", "Move all layers and stopped containers to another storage driver"),
            "prune": Leaf("prune", "PRUNE_SYSTEM", "Remove unused data"),
        },
        {},
    ),
    "volume": Group(
        "Manage volumes",
        {
            "create": Leaf("volume", "CREATE_VOLUME", "Create a volume"),
            "inspect": Leaf("volume", "INSPECT_VOLUME", "Display detailed information on one or more volumes"),
            "ls": Leaf("volume", "LIST_VOLUMES", "List volumes"),
            "prune": Leaf("volume", "PRUNE_VOLUMES", "Remove unused volumes"),
            "rm": Leaf("volume", "REMOVE_VOLUMES", "Remove one or more volumes that no container uses"),
        },
        {"list": "ls", "remove": "rm"},
    ),
}

TOP: Mapping[str, Leaf] = {
    "attach": _ATTACH,
    "badge": _BADGE,
    "build": _BUILD,
    "check": Leaf("image_check", "CHECK_IMAGE", "Check an image against rules: size, waste, growth, what may be in it"),
    "commit": _COMMIT,
    "completion": Leaf("completion", "COMPLETION", "Print the completion script for a shell"),
    "cp": _COPY,
    "create": _CREATE,
    "diff": _DIFF,
    "events": Leaf("events", "EVENTS", "Get real time events from the store"),
    "exec": _EXEC,
    "export": Leaf("export", "EXPORT_EITHER", "Export a container's (or an image's) filesystem as a tar archive"),
    "history": _HISTORY,
    "images": _IMAGES,
    "import": _IMPORT,
    "import-store": Leaf("import_store", "IMPORT_STORE", "Take images out of docker's, podman's or containerd's root"),
    "info": _INFO,
    "inspect": Leaf("inspect", "INSPECT", "Return low-level information on containers, images, volumes, networks"),
    "kill": _KILL,
    "load": _LOAD,
    "login": Leaf("login", "LOGIN", "Authenticate to a registry"),
    "logout": Leaf("login", "LOGOUT", "Log out from a registry"),
    "logs": _LOGS,
    "mount": Leaf("mount", "MOUNT", "Mount the merged file system of an image or container, or list what is mounted"),
    "pause": _PAUSE,
    "peel": _PEEL,
    "port": _PORT,
    "pull": _PULL,
    "push": _PUSH,
    "ps": _PS,
    "rename": _RENAME,
    "report": Leaf("image_report", "REPORT", "Write an HTML page that shows images: layers, sizes, waste, findings"),
    "restart": _RESTART,
    "rm": _REMOVE_CONTAINER,
    "rmi": _REMOVE,
    "run": _RUN,
    "save": _SAVE,
    "serve": Leaf(
        "serve", "SERVE", "Show the images of this store in a browser: layers, files, sizes, histories, side by side"
    ),
    "start": _START,
    "stats": _STATS,
    "stop": _STOP,
    "tag": _TAG,
    "top": _TOP,
    "unmount": Leaf("mount", "UNMOUNT", "Unmount what was mounted by veneer mount"),
    "unpause": _UNPAUSE,
    "unshare": Leaf("unshare", "UNSHARE", "Run a program in the user namespace of a plain user's layers"),
    "update": _UPDATE,
    "version": Leaf("version", "VERSION", "Show the veneer version information"),
    "wait": _WAIT,
    "watch": Leaf("watch", "WATCH", "Tell when tags move in their registry, and what that changes"),
}
HIDDEN: Mapping[str, Leaf] = {
    "__complete": Leaf("completion", "COMPLETE", "Words that may come next"),
    "umount": TOP["unmount"],
}
"""What the help leaves out: what no person types, and second names."""

COMMON = ("pull", "push", "images", "history", "inspect", "login", "logout", "version", "info")
"""What the help lists first."""
