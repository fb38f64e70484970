"""Figures of this project, each measured as ratios in one run."""
