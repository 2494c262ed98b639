"""Count the words of the sentences in Markdown files, and list the long ones.

Code blocks, tables and headings are left out. A code span is one word, a link the words of its text. The exit code is 1
if the sentences of a file have more than 15 words in the mean, or one of them has more than 30.

Example:
    python studies/prose.py README.md docs/*.md
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MEAN, LONG, LONGEST = 15, 25, 30
ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s+")
LEFT_OUT = re.compile(r"\s*(#|\||<!--)")
# The full stop of an abbreviation ends no sentence.
ABBREVIATION = re.compile(r"\b(al|cf|e\.g|i\.e|vs|Fig)\.", re.IGNORECASE)
END = re.compile(r"(?<=[.!?])[\"'”’)*_]*\s+(?=[\"'“‘(*_\[`]*[A-Z0-9`])")


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the first line's number and the text of each paragraph and list item."""
    start, lines, fence = 0, [], ""
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        mark = re.match(r"\s*(```|~~~)", line)
        if fence or mark:
            content = ""
            fence = "" if mark and mark[1] == fence else fence or mark[1]
        else:
            content = "" if LEFT_OUT.match(line) else line.lstrip("> ")
        if lines and (not content.strip() or ITEM.match(content)):
            yield start, " ".join(lines)
            lines = []
        if content.strip():
            start = start if lines else number
            lines.append(ITEM.sub("", content).strip())


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line's number, of the block that it stands in, and the text of each sentence.

    >>> list(sentences("One is here. Two, by Li et al. 2020, is `a. B`!"))
    [(1, 'One is here.'), (1, 'Two, by Li et al. 2020, is CODE!')]
    """
    for number, block in blocks(text):
        plain = re.sub(r"(`+).+?\1", "CODE", block)
        plain = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", plain)
        plain = re.sub(r"\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])", r"\1", plain)
        plain = ABBREVIATION.sub(lambda found: found[0].replace(".", "\0"), plain)
        for sentence in END.split(plain):
            if words(sentence):
                yield number, sentence.replace("\0", ".").strip()


def words(sentence: str) -> int:
    """Return how many words a sentence has; a dash or a sign alone is none.

    >>> words("AJI rises – from 0.50 to 0.55.")
    6
    """
    return sum(any(sign.isalnum() for sign in word) for word in sentence.split())


def check(path: Path) -> bool:
    """Print the counts and the long sentences of a file; return whether it reads well enough."""
    counted = [(number, words(sentence), sentence) for number, sentence in sentences(path.read_text())]
    if not counted:
        print(f"{path}: no sentence")
        return True
    counts = [count for _, count, _ in counted]
    mean = sum(counts) / len(counts)
    shares = [sum(count > limit for count in counts) / len(counts) for limit in (LONG, LONGEST)]
    print(
        f"{path}: {len(counts)} sentences, {mean:.1f} words a sentence, "
        f"{shares[0]:.0%} over {LONG}, {shares[1]:.0%} over {LONGEST}"
    )
    for number, count, sentence in counted:
        if count > LONG:
            print(f"  {path}:{number}: {count} words: {sentence}")
    return mean <= MEAN and max(counts) <= LONGEST


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="Markdown file")
    options = parser.parse_args()
    missing = [path for path in options.files if not path.is_file()]
    if missing:
        print(f"{missing[0]}: no such file", file=sys.stderr)
        return 2
    return 0 if all([check(path) for path in options.files]) else 1


if __name__ == "__main__":
    sys.exit(main())
