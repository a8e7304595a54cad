"""What of a text in Markdown is read aloud: its marks are taken away, and what nobody listens to is left out.

Headings, emphasis, lists, quotes, links and inline code are read without their marks; code blocks and tables are left
out, pictures are read by their description. `plain` takes a whole text, `Stream` an answer that comes piece by piece.
markdown-it-py finds the marks. A star between numbers or letters ("5*3", "a * b") stays: it is a product. HTML tags
and LaTeX's dollars are marks too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from tritone.speech.reading.maths import readable

CODE, TABLE, PICTURE, DIRECTION = "code block", "table", "picture without a description", "stage direction"
# Stage directions: what an answer says that its speaker does.
_DIRECTIONS = (
    "laughs|laughing|laughter|laugh|chuckles|giggles|sighs|sigh|smiles|smiling|grins|nods|winks|gasps|coughs|"
    "clears throat|pause|pauses|applause|music|silence|shrugs|bows|whispers|笑|大笑|微笑|叹气|笑声|掌声|音乐|点头|停顿"
)
_BRACKETED = re.compile(rf"[\[(（【](?:{_DIRECTIONS})[\])）】][ ]?", re.IGNORECASE)
_DIRECTION = re.compile(rf"\s*(?:{_DIRECTIONS})\s*", re.IGNORECASE)
_MATHS = re.compile(
    r"\$\$(?P<block>[^$]{1,500}+)\$\$|\\\((?P<inline>.{1,500}?)\\\)|\\\[(?P<display>.{1,500}?)\\\]"
    r"|\$(?=\S)(?P<dollar>[^$\n]{0,200}+)(?<=\S)\$(?!\d)",
    re.DOTALL,
)
_IS_MATHS = re.compile(r"[\\^_={}+<>]|^[A-Za-z]$")  # "$5 and $6" is money
# A product: between two numbers, two lone letters or brackets.
_FACTOR_BEFORE, _FACTOR_BEHIND = (
    re.compile(r"(?:[\d)]|(?<![A-Za-z])[A-Za-z])$"),
    re.compile(r"[\d(]|[A-Za-z](?![A-Za-z])"),
)
# Marks whose partner is missing, because it is in another piece of the answer.
_LOOSE = re.compile(
    r"(?<!\S)(?:\*{1,3}|_{1,3}|~~|`+)(?=\S)|(?<=[^\s*])(?<!\d)(?:\*{1,3}|~~|`+)(?!\w)|(?<=[^\s_])_{1,3}(?!\w)"
    r"|(?<![\d)])(?<!\b[A-Za-z])\*\*|\*\*(?![\d(]|[A-Za-z]\b)|~~|`+"
)
_LOOSE_LINK = re.compile(r"\]\((?:https?:|/|#)[^()\s]{0,500}+\)?")
_ANY_MARK = re.compile(
    r"[*_`~#>|<&\[\\$]|^\s*(?:[-+=]|\d{1,9}[.)])\s|^\s*-{3}|\]\(|[(（【](?=.{1,15}[)）】])", re.MULTILINE
)
_SPAN_TAG_BREAKS = re.compile(r"<(?:br|p|div|li|tr|h[1-6])\b", re.IGNORECASE)


@dataclass(frozen=True)
class Plain:
    """What is read of a text."""

    text: str
    left_out: tuple[str, ...] = ()  # kinds of what is not read, one for each: CODE, TABLE, …

    @property
    def note(self) -> str:
        """A sentence that says what is left out; "" where nothing is."""
        return note(self.left_out)


def note(left_out: Iterable[str]) -> str:
    """ "not read aloud: a code block, 2 tables"; "" where nothing is left out."""
    counted = Counter(left_out)
    named = [f"a {kind}" if count == 1 else f"{count} {_plural(kind)}" for kind, count in counted.items()]
    return f"not read aloud: {', '.join(named)}" if named else ""


def _plural(kind: str) -> str:
    first, *rest = kind.split(" without ")
    return " without ".join([f"{first}s", *rest])


def plain(text: str) -> Plain:
    """What is read of a whole text; a text without marks stays as it is.

    Lines stay lines, so that a heading ends with its line.
    """
    if not _ANY_MARK.search(text):
        return Plain(text)
    reading = _Reading()
    reading.blocks(_PARSER.parse(text.replace("\t", " ")))
    return Plain(_tidy("".join(reading.parts)), tuple(reading.left_out))


def _tidy(text: str) -> str:
    text = _LOOSE_LINK.sub("", _LOOSE.sub("", text))
    return re.sub(r"\n{2,}", "\n", re.sub(r"(?<=\S)[ ]{2,}", " ", text)).strip("\n")


# ---- what markdown-it finds


def _product(state: StateInline, silent: bool) -> bool:
    """Stars between two factors are text, not emphasis."""
    if state.src[state.pos] != "*":
        return False
    run = re.compile(r"\*{1,2}(?!\*)").match(state.src, state.pos)
    before, behind = state.src[max(state.pos - 2, 0) : state.pos], state.src[run.end() : run.end() + 2] if run else ""
    if not run or not _FACTOR_BEFORE.search(before) or not _FACTOR_BEHIND.match(behind):
        return False
    if not silent:
        state.pending += run[0]
    state.pos = run.end()
    return True


def _maths(state: StateInline, silent: bool) -> bool:
    """LaTeX between its marks becomes a token of its own."""
    if state.src[state.pos] not in "$\\":
        return False
    found = _MATHS.match(state.src, state.pos)
    formula = next(filter(None, found.groups()), "") if found else ""
    if not found or (found["dollar"] and not _IS_MATHS.search(formula)):
        return False
    if not silent:
        state.push("text", "", 0).content = readable(formula)
    state.pos = found.end()
    return True


def _parser() -> MarkdownIt:
    """CommonMark with tables; an indented line is no code, as answers indent what they like."""
    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": 100}).enable(["table", "strikethrough"])
    parser.disable(["code", "html_block"])
    parser.inline.ruler.before("escape", "maths", _maths)
    parser.inline.ruler.before("emphasis", "product", _product)
    # The text before a dollar would run over it.
    parser.inline.ruler.at("text", _text)
    return parser


_TERMINATORS = re.compile(r"[\n!#$%&*+\-:<=>@\[\\\]^_`{}~]")


def _text(state: StateInline, silent: bool) -> bool:
    """Text up to the next sign that may be a mark."""
    found = _TERMINATORS.search(state.src, state.pos)
    end = min(found.start() if found else state.posMax, state.posMax)
    if end == state.pos:
        return False
    if not silent:
        state.pending += state.src[state.pos : end]
    state.pos = end
    return True


_PARSER = _parser()


@dataclass
class _Reading:
    """The text that tokens leave, and what they leave out."""

    parts: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def blocks(self, tokens: Sequence[Token]) -> None:
        """Add the text of block tokens, one line each."""
        tables = 0
        for token in tokens:
            tables += (token.type == "table_open") - (token.type == "table_close")
            if token.type == "table_open":
                self.left_out.append(TABLE)
            elif token.type in ("fence", "code_block"):
                self.left_out.append(CODE)
            elif token.type == "list_item_open" and token.info:
                self.parts.append(f"\n{token.info}{token.markup} ")
            elif token.type == "inline" and not tables:
                self._inline(token.children or [])
                self.parts.append("\n")

    def _inline(self, tokens: Sequence[Token]) -> None:
        emphasis: list[int] = []  # where each emphasis that is open begins
        hidden = ""  # the tag whose content is no text
        for token in tokens:
            tag = re.match(r"<(/?)(script|style)\b", token.content) if token.type == "html_inline" else None
            hidden = ("" if tag[1] else tag[2]) if tag else hidden
            if hidden:
                continue
            if token.type == "em_open":
                emphasis.append(len(self.parts))
            elif token.type == "em_close" and emphasis:
                self._emphasised(emphasis.pop())
            elif token.type == "image":
                self._picture(token)
            elif token.type in ("text", "code_inline", "text_special"):
                self._text(token.content)
            elif token.type in ("softbreak", "hardbreak") or _SPAN_TAG_BREAKS.match(token.content):
                self.parts.append("\n")

    def _text(self, content: str) -> None:
        kept, count = _BRACKETED.subn("", content)
        self.left_out += [DIRECTION] * count
        self.parts.append(kept)

    def _emphasised(self, begin: int) -> None:
        """An emphasis that is nothing but a direction ("*laughs*") is not said."""
        if _DIRECTION.fullmatch("".join(self.parts[begin:])):
            del self.parts[begin:]
            self.left_out.append(DIRECTION)

    def _picture(self, token: Token) -> None:
        if token.content.strip():
            self.parts.append(token.content)
        else:
            self.left_out.append(PICTURE)


# ---- an answer that comes piece by piece

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ROW = re.compile(r"\s*\|")
_RULER = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$|\s*(?:[-*_]\s*){3,}$")


class Stream:
    """Reads an answer whose pieces may end anywhere: code and tables go on from one piece to the next."""

    def __init__(self) -> None:
        self._fence = ""  # the mark that opened the code block we are in
        self._in_table = False
        self._line = ""  # what there is of the current line

    def feed(self, piece: str) -> Plain:
        """What is read of the next piece."""
        kept: list[str] = []
        left_out: list[str] = []
        for part in piece.splitlines(keepends=True):
            begins = not self._line
            self._line += part
            if self._is_read(begins, left_out):
                kept.append(part)
            elif begins:
                kept.append("\n")
            if part[-1] in "\r\n":
                self._end_line()
        read = plain("".join(kept)) if "".join(kept).strip() else Plain("")
        return Plain(read.text, (*left_out, *read.left_out))

    def _is_read(self, begins: bool, left_out: list[str]) -> bool:
        """Whether the line that has come so far is text; notes where code or a table begins."""
        if self._fence:
            return False
        if fence := _FENCE.match(self._line):
            if begins:
                left_out.append(CODE)
            self._fence = fence[1]
            self._line = ""
            return False
        is_ruler = begins and bool(_RULER.match(self._line))
        is_row = bool(_ROW.match(self._line)) or (is_ruler and "|" in self._line)
        if is_row and not self._in_table:
            left_out.append(TABLE)
        self._in_table = is_row or (self._in_table and "|" in self._line)
        return not is_row and not self._in_table and not is_ruler

    def _end_line(self) -> None:
        closing = self._line.strip()
        if self._fence and closing.startswith(self._fence) and not closing.strip(self._fence[0]):
            self._fence = ""
        self._line = ""
