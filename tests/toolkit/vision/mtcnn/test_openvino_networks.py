"""MTCNN's networks as OpenVINO runs them, against those of torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from fmltk.toolkit.vision.mtcnn.networks import load_networks

pytest.importorskip("openvino")
pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def both():
    return load_networks(), load_networks(runtime="openvino")


def pictures(n: int, height: int, width: int) -> torch.Tensor:
    values = np.random.default_rng(n * 1000 + height).random((n, height, width, 3), np.float32) * 2 - 1
    return torch.from_numpy(values).permute(0, 3, 1, 2)


def assert_same(network: str, both, x: torch.Tensor) -> None:
    expected, found = (getattr(one, network)(x) for one in both)
    assert [tuple(one.shape) for one in found] == [tuple(one.shape) for one in expected]
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [(12, 12), (13, 40), (40, 13), (46, 62), (48, 64), (51, 33), (150, 94)])
def test_pnet_says_the_same_of_pictures_of_any_size(both, size):
    assert_same("pnet", both, pictures(1, *size))


def test_a_large_picture_stays_in_memory_until_it_is_judged(both):
    """Its channels come first, so that a copy is handed over: of this size, the system takes it back once freed."""
    assert_same("pnet", both, pictures(1, 1216, 1600).contiguous())


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 9, 32])
@pytest.mark.parametrize(("network", "side"), [("rnet", 24), ("onet", 48)])
def test_any_number_of_crops_is_judged_the_same(both, network, side, n):
    assert_same(network, both, pictures(n, side, side))


def test_a_crop_does_not_depend_on_those_next_to_it(both):
    crops = pictures(11, 48, 48)
    together = both[1].onet(crops)
    others = both[1].onet(torch.cat([crops[:5] * 0, crops[5:6], crops[6:] * 0]))
    for whole, other in zip(together, others, strict=True):
        np.testing.assert_array_equal(other[5].numpy(), whole[5].numpy())
    for k in (0, 3, 10):  # fewer crops at once are summed in another order
        for whole, alone in zip(together, both[1].onet(crops[k : k + 1]), strict=True):
            np.testing.assert_allclose(alone[0].numpy(), whole[k].numpy(), rtol=0, atol=2e-6)


def test_a_result_stays_when_the_network_is_called_again(both):
    x = pictures(3, 24, 24)
    first = both[1].rnet(x)
    kept = [one.clone() for one in first]
    both[1].rnet(pictures(3, 24, 24) * 0)
    for one, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(one.numpy(), before.numpy())


@pytest.mark.parametrize(("height", "width"), [(288, 360), (181, 203), (64, 300)])
def test_pictures_have_the_same_boxes(height, width):
    frame = np.random.default_rng(4).integers(0, 256, (height, width, 3), np.uint8)
    expected, found = (FaceDetector(networks=one).detect_frame(frame) for one in ("torch", "openvino"))
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=1e-3)


def test_real_faces_have_the_same_boxes(test_data):
    from fmltk.toolkit.media.frames import read_frames
    from fmltk.toolkit.media.probe import probe_media

    path = test_data / "videos" / "grid_bbaf2n.mpg"
    frame = next(iter(read_frames(path, info=probe_media(path))))
    expected, found = (FaceDetector(networks=one).detect_frame(frame) for one in ("torch", "openvino"))
    assert len(expected) == 1
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=0, atol=1e-3)


# Networks that come and go; then a child ends, and there is a handler for that, as torch's DataLoader leaves one.
COME_AND_GO = {
    "one after the other": "del load; gc.collect()",
    "the first goes first": "first = load(); second = load(); del first; gc.collect(); del second",
    "the second goes first": "first = load(); second = load(); del second; gc.collect(); del first",
    "made by a thread": "made = []; in_thread(lambda: made.append(load())); made.clear()",
    "freed by a thread": "made = [load()]; in_thread(made.clear)",
}


@pytest.mark.parametrize("script", COME_AND_GO.values(), ids=COME_AND_GO)
def test_a_signal_is_survived_after_networks_are_freed(script):
    program = f"""
import faulthandler, gc, signal, subprocess, sys, threading
from fmltk.toolkit.vision.mtcnn.networks import load_networks
faulthandler.enable()
def load():
    return load_networks(runtime="openvino")
def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
load()
{script}
gc.collect()
ended = []
signal.signal(signal.SIGCHLD, lambda *_: ended.append(1))
subprocess.run([sys.executable, "-S", "-c", ""], check=True)
signal.raise_signal(signal.SIGCHLD)
print("ended", len(ended) > 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended True\n", "")


def test_without_openvino_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fmltk.toolkit.vision.mtcnn.openvino_networks", None)
    with pytest.raises(FeatureError, match=r"pip install 'fmltk\[fast\]'"):
        FaceDetector(networks="openvino")
