"""What is bright but no finding: metal on the skin and old calcium in healthy people."""

from dataclasses import replace

import numpy as np
import pytest

from mg3d.phantom.chest_wall import outline
from mg3d.phantom.harmless import METAL_HU, draw_harmless
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.phantom.thorax import Variation, draw_thorax

TINY = ((43, 36, 54), (8.0, 7.0, 7.0))


@pytest.fixture(scope="module")
def people():
    plans = [replace(draw_patient(21, n), findings=()) for n in range(60)]
    return [(plan, draw_thorax(plan, Variation())) for plan in plans]


def metal_of(plan, build):
    specks, threads = draw_harmless(build, plan.seed, plan.patient)
    places = [speck.centre for speck in specks if speck.hu == METAL_HU]
    return places + [place for course, _ in threads for place in course]


def test_many_healthy_people_wear_metal_and_many_do_not(people):
    share = np.mean([bool(metal_of(*person)) for person in people])
    assert 0.5 < share < 0.95


def test_metal_lies_on_the_skin(people):
    for plan, build in people:
        for x, y, z in metal_of(plan, build):
            at = (np.full((1, 1), v, np.float32) for v in (x, y, z))
            depth = float(outline(build, *at)[0, 0])
            assert depth < 6
            assert build.female or depth > -6  # a breast lifts it


def test_metal_of_healthy_people_is_bright_and_in_no_mask(people):
    plan, _ = next(p for p in people if len(metal_of(*p)) > 8)
    worn, bare = draw_scan(plan, *TINY), draw_scan(plan, *TINY, variation=Variation(harmless=0))
    assert worn.hu.max() > 1500 > bare.hu.max()
    assert not worn.masks.any()


def test_calcified_granulomas_are_drawn_for_those_who_are_told_to_have_them(people):
    for plan, build in people[:20]:
        with_one = replace(build, incidental=("old granuloma",))
        without = replace(build, incidental=())
        more = [len(draw_harmless(b, plan.seed, plan.patient)[0]) for b in (with_one, without)]
        assert more[0] > more[1]
