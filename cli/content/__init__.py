"""Commands that show and change content: repository, version, tag, distribution, query.

Each module is one noun with its verbs; the questions are answered by `catalog`.
Operations that run as flows are in `cli.operations`.
"""
