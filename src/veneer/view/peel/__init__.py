"""An image peeled in a terminal: layers, files at any depth, histories, waste, a map, contents.

What the panes show is decided by modules that know nothing of a terminal (`model`, `tree`, `panes`, `ledger`,
`icicle`, `grid`, `reading`, `about`), as lines of spans; `plain` prints those lines.  Textual is known to `app`,
`lines`, `screens`, `sheets` and `themes` alone, and imported only when there is somebody to press keys.
"""
