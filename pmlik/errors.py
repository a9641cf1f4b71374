"""Exceptions and the vocabulary of flags. Every other module may import this one."""

from __future__ import annotations

__all__ = [
    "EstimationError",
    "FileError",
    "ModelError",
    "NestingError",
    "PmlikError",
    "StartError",
    "UnderflowWarning",
    "ValuesError",
]


class PmlikError(Exception):
    """Base of every error that pmlik raises itself."""


class ModelError(PmlikError, ValueError):
    """The model, or a name given with it, is not one that pmlik can work on."""


class StartError(ModelError):
    """The likelihood is zero or undefined wherever a search could start."""


class ValuesError(PmlikError, ValueError):
    """Values given for parameters have wrong names, shapes or labels."""


class FileError(PmlikError, OSError):
    """A file can't be written, or is not one that pmlik has written."""


class NestingError(PmlikError, ValueError):
    """Two models that are compared by a likelihood ratio are not nested, or not of one data set."""


class UnderflowWarning(UserWarning):
    """A likelihood is too small (or large) for a number in linear space."""


class EstimationError(PmlikError, RuntimeError):
    """An estimate carries a flag of severity ``error`` and ``strict=True`` was asked for."""
