"""What `studies/prose.py` counts as a sentence and as a word, and when it objects."""

import doctest

import prose
import pytest


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Check a text; returns the exit code and what was printed."""

    def _check(text):
        (tmp_path / "page.md").write_text(text)
        monkeypatch.setattr("sys.argv", ["prose.py", str(tmp_path / "page.md")])
        return prose.main(), capsys.readouterr().out

    return _check


def sentence(count):
    """Return a sentence of so many words."""
    return "Word" + " word" * (count - 1) + "."


def found(text):
    """Return the sentences of a text, without line numbers."""
    return [each for _, each in prose.sentences(text)]


def test_examples_in_docstrings():
    assert doctest.testmod(prose).failed == 0


def test_code_tables_and_headings_are_no_sentences():
    code, table = "```\nsome code. More.\n```\n", "| a | b |\n| --- | --- |\n| One. | Two. |\n"
    assert found(f"# A heading\n\n{code}\n{table}\nText.\n~~~\n# x\n~~~\n") == ["Text."]


def test_paragraphs_and_list_items_end_a_sentence():
    text = "An introduction:\n\n- first item, on\n  two lines\n- second item. And more.\n1. third\n\nNext\nparagraph"
    assert found(text) == [
        "An introduction:",
        "first item, on two lines",
        "second item.",
        "And more.",
        "third",
        "Next paragraph",
    ]


def test_links_and_code_spans_are_words():
    assert found("Some **bold** words.") == ["Some **bold** words."]
    (text,) = found("See [the long page](https://x.y/a.b?c) and `cyclic train --out RUN. X` ![picture](p.png) now.")
    assert text == "See the long page and CODE  now." and prose.words(text) == 7


def test_figures_and_abbreviations_do_not_end_a_sentence():
    assert len(found("AJI is 0.55 here, e.g. Kumar et al. 2017 have less. It ends.")) == 2


def test_sentences_start_with_code_quotes_and_emphasis_too():
    assert len(found("It ends (here). `code` starts. **Bold** follows. 12 is a number.")) == 4


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (sentence(15), 0),
        (sentence(16), 1),
        (f"{sentence(30)} " + f"{sentence(5)} " * 3, 0),
        (f"{sentence(31)} " + f"{sentence(5)} " * 3, 1),
        ("", 0),
    ],
)
def test_objects_to_a_high_mean_and_to_one_long_sentence(check, text, code):
    assert check(text)[0] == code


def test_long_sentences_are_listed_with_their_line(check):
    code, out = check(f"Short one.\n\n{sentence(26)} Short two. Short three.\n")
    assert code == 0 and "4 sentences, 8.0 words a sentence, 25% over 25, 0% over 30" in out
    assert "page.md:3: 26 words: Word word" in out


def test_a_missing_file_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["prose.py", str(tmp_path / "nowhere.md")])
    assert prose.main() == 2 and "nowhere.md" in capsys.readouterr().err
