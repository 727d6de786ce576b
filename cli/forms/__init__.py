"""Commands whose parameters come from the form of a flow: one declaration makes field, option, help and docs' row.

`command` is what a command is declared with; the rest is imported when its form is, not with the command.
No form and no command lives here. Leans on `cli.completion`, and on `flows.forms` for how a field is offered.
"""
