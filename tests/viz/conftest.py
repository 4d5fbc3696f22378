"""What every test of a figure needs: no figure left open, and all words of one."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    assert not plt.get_fignums(), "a figure left open is shown twice by a notebook"


@pytest.fixture(scope="session")
def words_of():
    """A function from a figure to everything written on it, one text after another."""

    def words(fig) -> str:
        fig.canvas.draw()
        return " | ".join(text.get_text() for text in fig.findobj(plt.Text))

    return words
