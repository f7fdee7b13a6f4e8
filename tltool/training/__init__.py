"""Schedules, fitting and the run folder."""
