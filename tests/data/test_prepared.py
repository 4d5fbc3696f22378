import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from mg3d.data.masks import read_masks
from mg3d.data.prepared import (
    read_array,
    read_crop,
    read_facts,
    write_array,
    write_masks,
)

SHAPE = (12, 10, 14)


def volume(dtype):
    values = np.random.default_rng(0).integers(0, 256, SHAPE)
    return (values / 255).astype(dtype) if dtype == np.float16 else values.astype(dtype)


def marked(bits, dtype=np.int32):
    """Each finding in a box of its own; the boxes overlap."""
    masks = np.zeros(SHAPE, dtype)
    for number, bit in enumerate(bits):
        start = number % 5
        masks[start + 1 : start + 5, 2:7, start + 3 : start + 8] |= dtype(1) << dtype(bit)
    return masks


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_a_crop_is_that_part_of_the_whole(dtype, tmp_path):
    array, path = volume(dtype), tmp_path / "a.safetensors"
    write_array(path, "volume", array, {})
    for start, shape in (((0, 0, 0), SHAPE), ((3, 2, 5), (4, 8, 9)), ((11, 9, 13), (1, 1, 1))):
        part = read_crop(path, start, shape)
        assert part.dtype == dtype
        h, w, d = (slice(s, s + n) for s, n in zip(start, shape, strict=True))
        np.testing.assert_array_equal(part, array[h, w, d])


@pytest.mark.parametrize(
    ("start", "shape"),
    [
        ((0, 0, 0), (13, 1, 1)),
        ((9, 0, 0), (4, 1, 1)),
        ((-1, 0, 0), (2, 2, 2)),
        ((0,) * 3, (1, 0, 1)),
    ],
)
@pytest.mark.parametrize("name", ["volume", "masks"])
def test_a_crop_that_leaves_the_array_is_refused(start, shape, name, tmp_path):
    path = tmp_path / "p017.safetensors"
    if name == "volume":
        write_array(path, name, volume(np.uint8), {})
    else:
        write_masks(path, marked([3]), {})
    with pytest.raises(ValueError, match=r"p017.*leaves the array of \(12, 10, 14\)"):
        read_crop(path, start, shape, name)


@pytest.mark.parametrize(
    ("bits", "stored"),
    [
        ([], np.uint8),
        ([0], np.uint8),
        ([17], np.uint8),
        ([3, 17, 30], np.uint8),
        (range(2, 10), np.uint8),
        (range(9), np.uint16),
        (range(18), np.uint32),
        (range(31), np.uint32),
    ],
)
def test_masks_come_back_bit_for_bit(bits, stored, tmp_path):
    path, masks = tmp_path / "m.safetensors", marked(bits)
    write_masks(path, masks, {"volume_id": "a"})
    back = read_array(path, "masks")
    assert back.dtype == masks.dtype
    np.testing.assert_array_equal(back, masks)
    np.testing.assert_array_equal(read_masks(path).numpy(), masks)
    assert load_file(path)["masks"].dtype == stored
    assert read_facts(path)["volume_id"] == "a"


def test_a_map_of_classes_comes_back_too(tmp_path):
    path = tmp_path / "m.safetensors"
    classes = np.random.default_rng(0).integers(0, 5, SHAPE).astype(np.uint8)
    write_masks(path, classes, {})
    back = read_array(path, "masks")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, classes)


def test_any_crop_of_masks_is_that_part_of_the_whole(tmp_path):
    path, masks = tmp_path / "m.safetensors", marked([1, 4, 17])
    write_masks(path, masks, {})
    generator = np.random.default_rng(0)
    for _ in range(50):
        shape = generator.integers(1, np.array(SHAPE) + 1)
        start = generator.integers(0, np.array(SHAPE) - shape + 1)
        h, w, d = (slice(s, s + n) for s, n in zip(start, shape, strict=True))
        part = read_crop(path, tuple(start.tolist()), tuple(shape.tolist()), "masks")
        np.testing.assert_array_equal(part, masks[h, w, d])


def test_masks_in_the_plain_form_are_read_as_well(tmp_path):
    path, masks = tmp_path / "m.safetensors", marked([1, 4, 17])
    write_array(path, "masks", masks, {"volume_id": "a"})
    np.testing.assert_array_equal(read_array(path, "masks"), masks)
    np.testing.assert_array_equal(
        read_crop(path, (1, 2, 3), (4, 5, 6), "masks"), masks[1:5, 2:7, 3:9]
    )


def test_masks_are_stored_small(tmp_path):
    masks = np.zeros((48, 32, 48), np.int32)
    masks[10:20, 8:20, 5:20] = 1 << 9
    masks[15:25, 8:20, 15:30] |= 1 << 3
    write_array(tmp_path / "plain", "masks", masks, {})
    write_masks(tmp_path / "small", masks, {})
    plain, small = ((tmp_path / name).stat().st_size for name in ("plain", "small"))
    assert plain > 4 * masks.size
    assert small < masks.size / 10


def test_equal_masks_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_masks(tmp_path / name, marked([1, 4]), {"z": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_negative_masks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="numbers of 0 or more, got -1"):
        write_masks(tmp_path / "m", np.full(SHAPE, -1, np.int32), {})


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "p017.safetensors"
    write_masks(path, marked([1]), {})
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    for read in (lambda: read_array(path, "masks"), lambda: read_crop(path, (0,) * 3, (1,) * 3)):
        with pytest.raises(ValueError, match=r"p017\.safetensors is damaged"):
            read()
    path.write_bytes(content)
    with pytest.raises(ValueError, match="has no array 'volume'"):
        read_crop(path, (0, 0, 0), (1, 1, 1))
    with pytest.raises(FileNotFoundError):
        read_crop(tmp_path / "absent", (0, 0, 0), (1, 1, 1))
    assert json.dumps(read_facts(path))
