"""Exceptions that pmlik raises."""

from __future__ import annotations


class PmlikError(Exception):
    """Base class of pmlik's errors."""


class ModelError(PmlikError, ValueError):
    """The model, or a name given with it, can't be used."""


class StartError(ModelError):
    """The likelihood is zero or undefined at all possible starts of a search."""


class ValuesError(PmlikError, ValueError):
    """Values given for parameters have wrong names, shapes or labels."""


class FileError(PmlikError, OSError):
    """A file can't be written, or was not written by pmlik."""


class NestingError(PmlikError, ValueError):
    """Models of a likelihood-ratio test are not nested, or have different data."""


class UnderflowWarning(UserWarning):
    """A likelihood is too small or too large for a floating-point number."""


class EstimationError(PmlikError, RuntimeError):
    """An estimate has a flag of severity ``error``, and ``strict=True`` was given."""
