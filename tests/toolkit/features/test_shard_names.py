"""Shard names by key: what a dict of them answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.features.shard_names import ShardNames

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = [f"{start}{end:012x}" for start in ("00a1", "00a2") for end in (0, 1, 0xABC)]  # three begin alike
RESTS = ["mark.0.arrow", f"{KEYS[0]}-{KEYS[1]}.{KEYS[2]}.arrow", "m-t-s.1.parquet"]  # one holds other clips' keys


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([*RESTS, None]))))
def test_names_are_held_as_a_dict_holds_them(changes: Sequence[tuple[str, str | None]]) -> None:
    names, expected = ShardNames(), dict[str, str]()
    for key, rest in changes:
        if rest is None:
            assert names.pop(key, None) == expected.pop(key, None)
        else:
            names[key] = expected[key] = f"{key}.{rest}"
    assert names == expected
    assert len(names) == len(expected)
    assert {key: names.get(key) for key in KEYS} == {key: expected.get(key) for key in KEYS}


@pytest.mark.parametrize("key", ["", KEYS[0][:4], KEYS[0][:-1], f"{KEYS[0]}0"])
def test_a_part_of_a_key_is_not_that_key(key: str) -> None:
    names = ShardNames()
    names[KEYS[0]] = f"{KEYS[0]}.{RESTS[0]}"
    assert key not in names
    with pytest.raises(KeyError):
        del names[key]
