"""The tool on the unit, `panoptes-unit`: what its zipapp and the Ansible modules carry, and nothing else.

Runs on Python 3.9 with the standard library and Debian's python3-docker, python3-yaml and python3-zmq, the last three
imported only where they are needed. Never imports `panoptes_utils`, which lives in the images. Nothing is imported
here or in the rooms below, because Ansible modules carry single files of them.
"""
