import re

import pytest
from real_reports import real_texts

from mg3d.text.dates import HIDDEN, hide_dates

MONTHS = "January|February|March|April|June|July|August|September|October|November|December"


@pytest.mark.parametrize(
    "date",
    [
        "26.03.2018", "2.5.2020", "27/01/2017", "27-01-17", "2018-03-26", "2018.03.26", "20180326",
        "03.2018", "26 March 2018", "March 26, 2018", "26th of March 2018", "4 Sept. 2019",
        "March 2018", "JUNE 2016", "26 March", "May 3", "2018", "25.02.219", "25 May 20222", "July",
    ],
)  # fmt: skip
def test_no_part_of_a_date_is_left(date):
    hidden = hide_dates(f"Compared with the CT dated {date}, nothing has changed.")
    assert hidden == f"Compared with the CT dated {HIDDEN}, nothing has changed."


@pytest.mark.parametrize(
    "text",
    [
        "A nodule of 5.5 x 3 mm in segment 6.", "It may be a cyst.", "The heart is marginal.",
        "Size 2018 mm.", "Level 12/2.", "Decalcified vertebra T12.", "Image 199 of series 2.",
        "Volume 1950 ml.", "Ratio 1/2.5.",
    ],
)  # fmt: skip
def test_sizes_and_levels_are_no_dates(text):
    assert hide_dates(text) == text


def test_no_date_of_a_real_report_is_left(shared_data):
    texts = real_texts(shared_data)
    hidden = [hide_dates(text) for text in texts]
    assert sum(HIDDEN in text for text in hidden) > 150
    left = re.compile(rf"\b(?:19|20)\d\d\b(?! ?mm)|\b(?:{MONTHS})\b|\b\d\d?[./]\d\d?[./]\d\d")
    assert [match[0] for text in hidden if (match := left.search(text))] == []
