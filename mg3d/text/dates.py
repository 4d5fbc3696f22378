"""Dates of earlier examinations, hidden before anything of a report is printed.

About one CT-RATE report in five names the date of an earlier examination. A report may be trained
on; what a program prints ends in logs, which are passed on. Mistyped dates occur ("25.02.219"), so
rather too much is hidden than too little.
"""

import re

HIDDEN = "[date]"
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
ALONE = (  # "may" is a verb more often than a month
    "(?:january|february|march|april|june|july|august|september|october|november|december)"
)
YEAR = r"(?:19|20)\d\d"
DAY = r"\d{1,2}(?:st|nd|rd|th)?"
DATE = re.compile(
    "|".join(
        (
            rf"\b{YEAR} ?[-./] ?\d{{1,2}} ?[-./] ?\d{{1,2}}(?!\d)",  # 2018-03-26
            r"\b\d{1,2} ?[-./] ?\d{1,2} ?[-./] ?\d{2,5}(?!\d)",  # 26.03.2018, 26/3/18
            rf"\b\d{{1,2}} ?[-./] ?{YEAR}(?!\d)",  # 03.2018
            rf"(?<!\d){YEAR}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?!\d)",  # 20180326
            rf"\b(?:{DAY} ?(?:of )?)?{MONTH},? ?(?:{DAY},? )?{YEAR}\b",  # 26 March 2018, March 2018
            rf"\b{DAY} (?:of )?{MONTH}\b(?: \d{{2,5}}\b)?",  # 26 March, 26th of March
            rf"\b{MONTH} {DAY}\b|\b{ALONE}\b",  # March 26th, March
            rf"(?<![\d.x]){YEAR}(?!\d|[.,]\d| ?(?:x|mm|cm|ml|cc|hu)\b)",  # 2018
        )
    ),
    re.IGNORECASE,
)


def hide_dates(text: str) -> str:
    """The text with "[date]" in place of every date, year or month.

    Example:
        hide_dates("Compared with the CT of 26.03.2018.")  # "Compared with the CT of [date]."
    """
    return DATE.sub(HIDDEN, text)
