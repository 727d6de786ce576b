"""Policies in the languages of other programs: containers' policy.json, Kyverno, sigstore's policy-controller, Notation.

What a target cannot express is an error that names the rule, or a note that says what is wider or narrower there; nothing is
dropped in silence. `policy_json_import` reads policy.json.
Leans on `catalog.policy`.
"""
