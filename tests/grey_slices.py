"""A scan saved as a folder of grey images."""

import numpy as np
from PIL import Image

SHAPE = (30, 26, 24)  # slices, rows, columns


def grey(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def save(folder, images, name="{}.png", start=1, mode=None, **settings):
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images, start):
        picture = Image.fromarray(image)
        (picture.convert(mode) if mode else picture).save(folder / name.format(number), **settings)
    return folder
