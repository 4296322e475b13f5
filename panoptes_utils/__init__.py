"""Base software of a PANOPTES observatory unit."""
