"""What can be done in `veneer peel` and by which keys: the table that help, documents and bindings share."""

from __future__ import annotations

from veneer.values import Value

EVERYWHERE, TREE, LAYERS, VIEWER = "everywhere", "files", "layers", "viewer"


class Action(Value):
    """Something one can do.  `keys`: Textual's names, with commas between; `hint`: a word for the bottom line."""

    __slots__ = ()
    id: str
    keys: str
    about: str
    where: str = EVERYWHERE
    hint: str = ""


ACTIONS = (
    Action("up", "up,k", "One line up"),
    Action("down", "down,j", "One line down"),
    Action("page_up", "pageup,b", "A page up"),
    Action("page_down", "pagedown", "A page down"),
    Action("first", "home", "To the first line"),
    Action("last", "end,G", "To the last line; in the files, more of a long directory"),
    Action("left", "left,h", "Layers: one layer less.  Files: collapse, or to the directory above.  Texts: sideways",
           hint="sideways"),
    Action("right", "right,l", "Layers: one layer more.  Files: expand.  Texts: sideways", hint="sideways"),
    Action("choose", "enter", "Open what the line stands for", hint="open"),
    Action("pane_1", "1", "To the layers"),
    Action("pane_2", "2", "To the files"),
    Action("pane_3", "3", "To what is known of the layer"),
    Action("pane_4", "4,H", "To the history of the file", hint="history"),
    Action("next_pane", "tab", "To the next pane; in the waste, by cause, by layer, by path", hint="next"),
    Action("previous_pane", "shift+tab", "To the pane before"),
    Action("less", "comma", "Peel a layer off: at one less", hint="peel"),
    Action("more", "full_stop", "Put a layer back: at one more", hint="peel"),
    Action("since_less", "left_square_bracket", "Compare with one layer less", hint="since"),
    Action("since_more", "right_square_bracket", "Compare with one layer more", hint="since"),
    Action("all", "a", "What this layer did, or all layers so far", hint="all/this"),
    Action("sort", "s", "Sort files by size, name, waste, layer", hint="sort"),
    Action("find", "slash", "Find a name: text, a pattern with * ? [, or re:EXPRESSION", hint="find"),
    Action("next", "n", "The next one found", hint="next"),
    Action("previous", "N", "The one found before"),
    Action("filter", "f", "Show only what matches; nothing ends it", hint="filter"),
    Action("toggle_A", "A", "Show or hide what was added"),
    Action("toggle_M", "M", "Show or hide what has other content"),
    Action("toggle_P", "P", "Show or hide what only has other metadata"),
    Action("toggle_D", "D", "Show or hide what was deleted"),
    Action("toggle_O", "O", "Show or hide what something of another kind replaced"),
    Action("toggle_U", "U", "Show or hide what is unchanged"),
    Action("small", "m", "Hide or show what is smaller than 1MB"),
    Action("expand", "space", "Files: expand or collapse.  Layers: the steps that made no layer", hint="open"),
    Action("expand_all", "asterisk", "Expand or collapse all directories beside this one", TREE),
    Action("collapse", "less_than_sign", "Collapse, or to the directory above", TREE),
    Action("uncollapse", "greater_than_sign", "Expand", TREE),
    Action("log", "L", "Bars of sizes, or of their logarithms", LAYERS),
    Action("wrap", "w", "Wrap long lines, or not"),
    Action("view", "v", "What is in the file", hint="view"),
    Action("diff", "d", "The file before and after, side by side", hint="diff"),
    Action("export", "e", "Write the file, or a directory as a tar, to this machine", hint="export"),
    Action("copy", "y", "Copy the path", hint="copy"),
    Action("waste", "W", "What is stored in vain", hint="waste"),
    Action("compare", "c", "Beside other images", hint="compare"),
    Action("map", "g", "Where the bytes are", hint="map"),
    Action("about", "i", "Configuration and labels", hint="info"),
    Action("platform", "p", "The same image for another platform"),
    Action("browser", "o", "The same in a browser (where veneer serve runs)"),
    Action("theme", "t", "Light, dark, high contrast"),
    Action("commands", "colon", "All commands by name"),
    Action("help", "question_mark", "These keys", hint="help"),
    Action("back", "escape,backspace", "Leave this screen; in the map, up", hint="back"),
    Action("text", "x", "Text, bytes in hexadecimal, contents of an archive", VIEWER, "text/hex/archive"),
    Action("quit", "q,ctrl+c", "Leave", hint="quit"),
)  # fmt: skip

_SHOWN = {
    "comma": ",", "full_stop": ".", "left_square_bracket": "[", "right_square_bracket": "]", "slash": "/",
    "asterisk": "*", "less_than_sign": "<", "greater_than_sign": ">", "colon": ":", "question_mark": "?",
    "up": "↑", "down": "↓", "left": "←", "right": "→", "enter": "Enter", "space": "Space", "tab": "Tab",
    "shift+tab": "Shift+Tab", "pageup": "PgUp", "pagedown": "PgDn", "home": "Home", "end": "End", "escape": "Esc",
    "backspace": "Backspace",
}  # fmt: skip
KEYS = {shown: key for key, shown in _SHOWN.items()}


def shown(keys: str) -> str:
    """Keys as people write them: `↑ k`."""
    return " ".join(_SHOWN.get(key, key) for key in keys.split(",") if key)


def named(keys: str) -> str:
    """Keys as people write them, or as Textual does, in Textual's names: what a preference says."""
    words = keys.split() if " " in keys.strip() else [keys.strip()] if keys.strip() in KEYS else keys.split(",")
    return ",".join(KEYS.get(word.strip(), word.strip()) for word in words if word.strip())
