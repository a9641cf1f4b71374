"""Profiles, intervals, bootstrap, tests, criteria: statistics of an estimate."""
