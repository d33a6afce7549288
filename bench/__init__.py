"""Measurements of speed, each as a ratio to a limit that is measured in the same run on the same machine."""
