"""What is written after `hf:`: a model and its layers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.hf_argument import Layers, read_argument


@pytest.mark.parametrize(
    ("argument", "model", "options"),
    [
        ("facebook/wav2vec2-base", "facebook/wav2vec2-base", {}),
        ("a/b,layer=3", "a/b", {"layer": "3"}),
        ("/models/my,model,layers=mean", "/models/my,model", {"layers": "mean"}),
        ("a/b,layers=one,two,layer=3", "a/b", {"layers": "one,two", "layer": "3"}),
    ],
)
def test_a_model_and_its_options_are_told_apart(argument, model, options):
    assert read_argument(argument) == (model, options)


def test_a_folder_that_exists_is_read_as_it_is(tmp_path):
    folder = tmp_path / "model,layer=3"
    folder.mkdir()
    assert read_argument(str(folder)) == (str(folder), {})


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        (None, "needs a model"),
        ("", "needs a model"),
        ("a/b,depth=3", "unknown option 'depth=3'; there are layer, layers"),
        ("a/b,layer=3,layer=4", "gives layer twice"),
    ],
)
def test_other_arguments_are_refused(argument, match):
    with pytest.raises(ConfigError, match=match):
        read_argument(argument)


@pytest.mark.parametrize(
    ("options", "written", "mean_of"),
    [
        ({}, "last", [7]),
        ({"layer": "last"}, "last", [7]),
        ({"layer": "0"}, "0", [0]),
        ({"layer": "2"}, "2", [2]),
        ({"layers": "mean"}, "mean", [1, 2, 3]),
        ({"layers": "2-3"}, "2-3", [2, 3]),
        ({"layer": "-1"}, "-1", [3]),
        ({"layer": "-2"}, "-2", [2]),
        ({"layers": "mean-last-4"}, "last-4", [0, 1, 2, 3]),
        ({"layers": "last-2"}, "last-2", [2, 3]),
    ],
)
def test_layers_are_numbered_like_hidden_states(options, written, mean_of):
    layers = Layers.of(options)
    output = SimpleNamespace(last_hidden_state=np.array(7.0), hidden_states=tuple(np.array(float(k)) for k in range(4)))
    assert str(layers) == written
    assert layers.pick(output) == np.mean(mean_of)
    layers.check(3)


@pytest.mark.parametrize(
    "options",
    [
        {"layer": "nine"},
        {"layer": "--1"},
        {"layers": "last-0"},
        {"layers": "9"},
        {"layers": "3-2"},
        {"layer": "1", "layers": "mean"},
    ],
)
def test_other_choices_of_layers_are_refused(options):
    with pytest.raises(ConfigError, match=r"; (write|give) "):
        Layers.of(options)


@pytest.mark.parametrize(
    ("options", "layer"),
    [({"layer": "4"}, 4), ({"layers": "2-4"}, 4), ({"layer": "-5"}, -5), ({"layers": "last-9"}, -9)],
)
def test_a_layer_that_the_model_lacks_is_refused(options, layer):
    with pytest.raises(ConfigError, match=f"layer {layer} was asked for, but the model has layers 0 to 3"):
        Layers.of(options).check(3)
