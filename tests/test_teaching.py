"""Glossary and teaching plans: links that lead somewhere, and every lesson named."""

import re

import pytest

LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
ROW = re.compile(r"^\| (?!term|---|lesson)(.+?) \|", re.M)


@pytest.fixture(scope="module", params=["glossary.md", "teaching.md"])
def page(request, repository):
    return repository / "docs" / request.param


def test_every_link_leads_to_a_file(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert links
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not lost


def test_every_lesson_has_its_answers_to_expect(repository):
    text = (repository / "docs" / "teaching.md").read_text(encoding="utf-8")
    answers = text.split("## Answers to expect")[1]
    lessons = {path.name for path in (repository / "notebooks").glob("*.ipynb")}
    assert {link.rsplit("/")[-1] for link in LINK.findall(answers)} == lessons


def test_a_term_is_explained_once_and_in_order(repository):
    sections = (repository / "docs" / "glossary.md").read_text(encoding="utf-8").split("\n## ")[1:]
    terms = [ROW.findall(section) for section in sections]
    every = [term for part in terms for term in part]
    assert len(every) > 60 and len(set(every)) == len(every)
    for part in terms:
        assert part == sorted(part, key=str.casefold)


@pytest.mark.parametrize("name", ["README.md", "notebooks/00_start_here.ipynb"])
def test_a_newcomer_is_led_to_the_glossary(repository, name):
    assert "docs/glossary.md" in (repository / name).read_text(encoding="utf-8")
