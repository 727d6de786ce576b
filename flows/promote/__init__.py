"""The flow `promote-content`: content of one repository for another, through gates.

`policy_hook` asks an external service; the gates themselves are rules in `catalog.content.promotion`.
Leans on `runs`, `forms` and the verifiers of `sign`.
"""
