"""The controller's tool for many units, on ansible-runner.

Imports neither `panoptes_unit` nor `panoptes_utils`: with units it shares only plain data, the JSON that
`panoptes-unit` prints, so that one controller can look after units of old and new releases.
"""
