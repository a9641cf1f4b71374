"""Describe a model: a table of text, and the edges of its graph."""

from io import StringIO

import pymc as pm
from pymc.model_graph import ModelGraph
from rich.console import Console

from pmlik._runtime import quiet_host

_WIDTH = 100


def describe_model(model: pm.Model) -> str:
    """Return the text of ``pm.Model.table``, empty if PyMC can't make one."""
    try:
        with quiet_host():
            table = model.table()
        console = Console(file=StringIO(), width=_WIDTH, color_system=None)
        console.print(table)
    except Exception:  # noqa: BLE001 - a report without it is still a report
        return ""
    file = console.file
    assert isinstance(file, StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def describe_edges(model: pm.Model) -> tuple[tuple[str, str], ...]:
    """Return pairs of names: a variable, and one whose distribution or formula contains it."""
    try:
        with quiet_host():
            graph = ModelGraph(model).make_compute_graph()
    except Exception:  # noqa: BLE001 - as above
        return ()
    return tuple(
        (str(parent), str(child)) for child, parents in graph.items() for parent in sorted(parents)
    )
