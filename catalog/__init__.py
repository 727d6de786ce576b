"""What this installation holds: blobs, versions, distributions, rules, and the questions about them.

`catalog` assembles the packages, `settings` is the one table of settings.
No HTTP and no Prefect: requests are answered in `registry_api`, operations are run in `flows`.
Leans on `oci` alone.
"""
