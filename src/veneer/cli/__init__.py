"""The verbs in a terminal: docker's command line over the engine.

Knows words, options, tables, templates, terminals and exit codes; knows nothing of how anything is done, and asks the
engine for it.  `main` finds the command in `tree` and imports its module alone: most calls only look at something
and must cost little more than the interpreter's start.  Everything printed is docker's, byte for byte where docker has
it (tests/cli/golden); what strangers wrote is made harmless before it reaches a terminal or a table.
Sources: docker/cli, spf13/pflag, go/src/text/{template,tabwriter}, docker/go-units.
"""
