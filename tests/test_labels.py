"""The flat vector and its names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from pmlik.errors import ValuesError
from pmlik.labels import (
    ParameterSpace,
    bounds_of,
    label_bounds,
    labelled,
    select_variables,
    space_of,
)

SPACE = ParameterSpace(
    names=("a", "effect", "table", "empty"),
    shapes=((), (3,), (2, 3), (0,)),
    dims=((), ("group",), ("side", "group"), ("none",)),
    coords={"group": np.array(["x", "y", "z"]), "side": np.array([10, 20])},
)
FLAT = np.arange(10.0)

shapes = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=4).map(tuple)


def space_with(shapes: tuple[tuple[int, ...], ...]) -> ParameterSpace:
    return ParameterSpace(
        names=tuple(f"v{i}" for i in range(len(shapes))),
        shapes=shapes,
        dims=tuple(tuple(f"v{i}_{j}" for j in range(len(s))) for i, s in enumerate(shapes)),
        coords={},
    )


@given(shapes)
def test_split_and_join_are_inverse_to_each_other(shapes):
    space = space_with(shapes)
    flat = np.random.default_rng(0).normal(size=space.size)
    arrays = space.split(flat)
    assert [array.shape for array in arrays.values()] == list(shapes)
    np.testing.assert_array_equal(space.join(arrays), flat)


@given(shapes)
def test_there_is_one_label_a_scalar_and_no_label_twice(shapes):
    space = space_with(shapes)
    assert len(space.labels) == space.size
    assert len(set(space.labels)) == space.size


@given(shapes)
def test_slices_cover_the_vector_without_gap(shapes):
    space = space_with(shapes)
    covered = [i for where in space.slices.values() for i in range(where.start, where.stop)]
    assert covered == list(range(space.size))


def test_split_cuts_in_row_order():
    arrays = SPACE.split(FLAT)
    assert arrays["a"] == 0
    assert arrays["a"].shape == ()
    assert arrays["effect"].tolist() == [1, 2, 3]
    assert arrays["table"].tolist() == [[4, 5, 6], [7, 8, 9]]
    assert arrays["empty"].shape == (0,)


def test_join_takes_the_order_from_the_space_and_not_from_the_mapping():
    arrays = SPACE.split(FLAT)
    backwards = dict(reversed(arrays.items()))
    np.testing.assert_array_equal(SPACE.join(backwards), FLAT)


def test_join_ignores_what_the_space_does_not_hold():
    extra = {**SPACE.split(FLAT), "other": np.ones(7)}
    np.testing.assert_array_equal(SPACE.join(extra), FLAT)


def test_join_gives_floats_whatever_it_is_given():
    space = space_with(((), (2,)))
    joined = space.join({"v0": True, "v1": [2, 3]})
    assert joined.dtype == np.float64
    assert joined.tolist() == [1.0, 2.0, 3.0]


def test_a_vector_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="need"):
        SPACE.split(FLAT[:-1])


def test_a_missing_variable_is_an_error():
    with pytest.raises(KeyError, match="effect"):
        SPACE.join({"a": 1.0})


def test_the_empty_space_has_an_empty_vector():
    space = space_with(())
    assert space.size == 0
    assert space.labels == ()
    assert space.join({}).shape == (0,)
    assert space.split([]) == {}
    assert list(space.to_dataset([])) == []


def test_labels_hold_the_coordinates_as_arviz_writes_them():
    assert SPACE.labels[:4] == ("a", "effect[x]", "effect[y]", "effect[z]")
    assert SPACE.labels[4:7] == ("table[10, x]", "table[10, y]", "table[10, z]")
    assert SPACE.labels[-1] == "table[20, z]"


def test_labels_of_one_variable_are_its_part_of_all_labels():
    joined = [label for name in SPACE.names for label in SPACE.labels_of(name)]
    assert tuple(joined) == SPACE.labels
    assert SPACE.labels_of("a") == ("a",)
    assert SPACE.labels_of("empty") == ()


def test_an_axis_without_coordinates_is_numbered_from_zero():
    space = space_with(((2,),))
    assert space.labels == ("v0[0]", "v0[1]")
    assert space.to_dataset([5, 6])["v0_0"].values.tolist() == [0, 1]


def test_a_dataset_has_the_dims_and_coords():
    dataset = SPACE.to_dataset(FLAT)
    assert list(dataset.data_vars) == list(SPACE.names)
    assert dataset["table"].dims == ("side", "group")
    assert float(dataset["table"].sel(side=20, group="y")) == 8
    assert float(dataset["effect"].sel(group="z")) == 3
    assert dataset["a"].dims == ()


def test_labels_and_values_of_a_dataset_belong_together():
    dataset = SPACE.to_dataset(FLAT)
    assert labelled(dataset) == dict(zip(SPACE.labels, FLAT, strict=True))
    assert space_of(dataset).shapes == SPACE.shapes
    assert space_of(dataset).dims == SPACE.dims


def test_names_with_a_sub_models_prefix_and_spaces_are_kept():
    space = ParameterSpace(
        ("inner::b c",), ((2,),), (("a dim",),), {"a dim": np.array(["p, q", "r"])}
    )
    assert space.labels == ("inner::b c[p, q]", "inner::b c[r]")
    assert list(space.to_dataset([1, 2]).data_vars) == ["inner::b c"]


def test_coordinates_of_dates_are_labels_too():
    days = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]")
    space = ParameterSpace(("v",), ((2,),), (("day",),), {"day": days})
    assert space.labels == ("v[2020-01-01]", "v[2020-01-02]")
    assert [label.split("T")[0].rstrip("]") for label in labelled(space.to_dataset([1, 2]))] == [
        "v[2020-01-01",
        "v[2020-01-02",
    ]


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([], ()),
        ([0], ("a",)),
        ([3, 1, 2], ("effect",)),
        ([9, 0], ("a", "table")),
        (range(10), ("a", "effect", "table")),
        (np.array([4, 9]), ("table",)),
    ],
)
def test_owners_are_each_named_once_and_in_order(indices, expected):
    assert SPACE.owners(indices) == expected


def test_a_space_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPACE.names = ()


def test_many_labels_are_made_quickly():
    space = ParameterSpace(("big",), ((100, 100),), (("i", "j"),), {})
    assert len(space.labels) == 10_000
    assert space.labels[-1] == "big[99, 99]"


@pytest.mark.parametrize("kind", ["datetime64[ns]", "datetime64[us]", object])
def test_the_same_moment_is_the_same_label(kind) -> None:
    days = pd.to_datetime(
        ["2020-01-01", "2020-01-02 06:30", "2020-01-03 00:00:01.25"], format="mixed"
    )
    index = np.array(list(days), dtype=object) if kind is object else days.to_numpy().astype(kind)
    space = ParameterSpace(("x",), ((3,),), (("when",),), {"when": index})
    assert space.labels == ("x[2020-01-01]", "x[2020-01-02 06:30:00]", "x[2020-01-03 00:00:01.25]")


@pytest.mark.parametrize(
    ("var_names", "coords", "expected"),
    [
        (None, None, ["a", "b[x]", "b[y]", "b[z]", "c"]),
        ("b", {"group": "y"}, ["b[y]"]),
        (["c", "a"], None, ["c", "a"]),
        ("~b", None, ["a", "c"]),
        (["b"], {"group": slice("y", "z")}, ["b[y]", "b[z]"]),
        ([], None, []),
    ],
)
def test_variables_are_selected_as_in_arviz(var_names, coords, expected):
    dataset = xr.Dataset(
        {"a": 1.0, "b": ("group", [2.0, 3.0, 4.0]), "c": 5.0}, coords={"group": ["x", "y", "z"]}
    )
    assert list(labelled(select_variables(dataset, var_names, coords, where="in it"))) == expected


@pytest.mark.parametrize(
    ("var_names", "coords", "message"),
    [
        ("aa", None, "var_names: 'aa' not in the model, which has a."),
        (["~aa", "a"], None, "var_names: 'aa' not in the model, which has a."),
        (None, {"group": "x"}, "coords: "),
    ],
)
def test_a_selection_that_is_not_there_is_refused(var_names, coords, message):
    with pytest.raises(ValuesError) as caught:
        select_variables(xr.Dataset({"a": 1.0}), var_names, coords, where="in the model")
    assert str(caught.value).startswith(message)


def test_bounds_by_label_are_those_of_the_dataset():
    template = xr.Dataset({"b": ("group", [2.0, 3.0])}, coords={"group": ["x", "y"]})
    interval = label_bounds(template, {"b[y]": (1.0, 4.0)}, ci_prob=0.9)
    assert interval["b"].dims == ("group", "ci_bound")
    assert interval.attrs == {"ci_prob": 0.9}
    assert bounds_of(interval)["b[y]"] == (1.0, 4.0)
    assert np.isnan(bounds_of(interval)["b[x]"]).all()
