import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mg3d.viz.architecture import MODALITIES, show_architecture

PATHS = {
    "mim": {("masked_volume", "encoder"), ("encoder", "filled_visual_tokens")}
    | {("filled_visual_tokens", "mim"), ("report", "filled_visual_tokens")},
    "ssm": {("report", "text_encoder"), ("text_encoder", "identity"), ("identity", "ssm")},
}


def fills(fig):
    axes = fig.axes[0]
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    words = [" ".join(text.get_text().split()) for text in axes.texts]
    colors = [to_hex(box.get_facecolor()) for box in boxes]
    return dict(zip(words, colors, strict=True))


def test_a_box_has_the_colour_of_what_it_can_depend_on():
    drawn = fills(show_architecture(PATHS))
    fill = {name: fill for name, (fill, _) in MODALITIES.items()}
    assert drawn["vision encoder"] == fill["the volume"]
    assert drawn["sentence identity"] == drawn["SSM"] == fill["the report"]
    assert drawn["filled-in tokens"] == drawn["MIM"] == fill["both"]
    assert not plt.get_fignums()


def test_one_objective_is_lit_and_the_rest_stays_pale():
    fig = show_architecture(PATHS, "ssm", labels={"ssm": "SSM · between patients"}, title="Look")
    drawn = fills(fig)
    white = {words for words, color in drawn.items() if color == "#ffffff"}
    assert white == {"volume, blocks hidden", "vision encoder", "filled-in tokens", "MIM"}
    arrows = [p for p in fig.axes[0].patches if isinstance(p, FancyArrowPatch)]
    assert sum(arrow.get_linewidth() > 1 for arrow in arrows) == len(PATHS["ssm"])
    fig.canvas.draw()
    words = " | ".join(text.get_text() for text in fig.findobj(plt.Text))
    assert "SSM · between patients" in words and "Look" in words
    assert "what SSM reads (sentence identity)" in words


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="mim, ssm; got lit='cml'"):
        show_architecture(PATHS, "cml")
    with pytest.raises(ValueError, match="no place for dreams; add it to PLACES"):
        show_architecture({"mim": {("dreams", "mim")}})


def test_words_stay_inside_their_boxes():
    fig = show_architecture(PATHS)
    fig.canvas.draw()
    axes = fig.axes[0]
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    for box, words in zip(boxes, axes.texts, strict=True):
        outer, inner = box.get_window_extent(), words.get_window_extent()
        assert outer.x0 <= inner.x0 and inner.x1 <= outer.x1, words.get_text()
