"""The tool on the unit, `panoptes-unit`: releases as one transaction.

Runs on Python 3.9 with Debian's packages only. Nothing is imported here, because parts of this package
(`errors`, `platforms`, `registry`) are also shipped to units inside Ansible modules.
"""
