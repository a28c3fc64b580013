#!/usr/bin/env python3
"""Checks the words that people read: documents, comments, messages, help texts and names.

    check_words.py             all of it
    check_words.py --docs      only *.md
    check_words.py --summary   the number of findings in each file
    check_words.py --self-test

What is checked, for every tracked or new file:
- *.md: prose has at most 100 columns (tables, code and what cannot be broken may be longer); links lead
  to files and headings that exist, and so do paths such as `src/base` in code spans.
- everywhere: documents that are named exist (docs/X.md, adr/0001), and so do their sections where one is
  named in quotes: docs/X.md, "Section".
- OPERATIONS.md quotes messages of the program: each is in a string of src/.
- WORDS: phrases that are hardly ever good English, in documents, in the comments and strings of C++, and in
  the other files of PLAIN. Each comes with what to write instead.
- HELP: help texts of options and metrics that begin in the middle of a sentence ("of the tables").
- NAMES: identifiers of C++ for which the field has a standard term.

Decision records are never edited, so only their links are checked.
"""

import bisect
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 100
RECORD = re.compile(r"docs/adr/\d{4}-")
# Other files whose whole text is read by people.
PLAIN = re.compile(r"^(Makefile|web/[^/]+\.(js|html|json)|deploy/.*|tools/[^/]+\.sh)$")

# What is wrong nearly always -> what to write instead. Case does not matter.
WORDS = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in [
    (r"\blikewise\b", "name the thing again, or write 'the same'"),
    (r"(?<!there )\b(is|was) no (?!longer\b|more\b|other\b|part\b|need\b|doubt\b|way\b|room\b|defence\b)",
     "'is not a ...'; 'is no' only after 'there'"),
    (r"\b(alert|reason|share|number|trouble|state|change|rule)s? (that )?(is|are|was|were) told\b"
     r"|\bthat (are|were) told\b(?! (to|so)\b)|\b(is|are) told (once|no more|at all|as k)", "'is reported'"),
    (r"\btold one by one\b", "'reported individually'"),
    (r"\b(is|are|was|were) said\b(?! to\b)", "'the log says', 'is reported'"),
    (r"\bshall\b", "'must', 'should' or 'will'"),
    (r"\bas one likes\b", "'any number of'"),
    (r"\bof before\b|\bof then\b", "'earlier', 'of that time'"),
    (r"\b(from|by|of|to|than|for|with|at) who\b(?! (is|am|are) )", "'whoever', or name who it is"),
    (r"\bnot any more\b", "'no longer'"),
    (r"\bnone of ours\b", "'not one of ours'"),
    (r"\bwaited for no more\b", "'no longer waited for'"),
    (r"\bbecome more\b", "'grow in number', 'increase'"),
    (r"\bcome again\b", "'try again later'"),
    (r"\bby turns\b", "'alternately'"),
    (r"\bmade anew\b|\bbegun anew\b", "'recreated', 'started again'"),
    (r"\bwhen what (dies|fails|ends|happens)\b", "name it: 'what each failure does'"),
    (r"\bwhy is it \d", "say what the command shows"),
    (r"\bwhat has said\b", "name what has said it"),
    (r"\bmay be tried at once\b", "'can be retried now'"),
    (r"\bof a rule that\b", "name the subject"),
    (r"\bmend(s|ed|ing)?\b", "'fix', 'repair'"),
    (r"\b(a|one) (file|row|topic|folder|directory|record|message|transaction|line|partition|thread|page|"
     r"commit|segment|key|word|suite|source|alert|sink) an? (location|partition|camera|day|segment|line|"
     r"message|detection|step|process|topic|table|key|commit|item|window|sink|task|viewer|rule|port)\b",
     "'one X per Y', 'one X for each Y'"),
]]
# A help text that begins so lacks its subject.
FRAGMENT = re.compile(r"(of|that|whose|which|who|with|by)\s+(?!default\b)\w+", re.IGNORECASE)
# What stands before a help text. In the files of OPTIONS any argument may be one.
HELP = re.compile(r'(\.help = |"sightline_\w+",\s*)$')
ARGUMENT = re.compile(r",\s*$")
OPTIONS = re.compile(r"^src/(\w+/)?(\w*options\w*|command_\w+)\.cc$")
NAMES = [(re.compile(pattern), instead) for pattern, instead in [
    (r"\bApproach\w*", "Prefetch"),
    (r"\bHurry\w*", "RetryNow"),
    (r"\bBury\w*", "Retire"),
    (r"\bAskUndecided\w*|\bleft_open\w*", "hanging transaction, last stable offset"),
    (r"\bSetAside\w*", "DeadLetter, Late"),
    (r"\bPulse\w*", "LivenessProbe"),
    (r"\bBareServer\w*", "ProbeServer"),
    (r"\bLakeAsker\w*", "LakeClient"),
    (r"\bTell[A-Z]\w*", "Report..."),
    (r"\bGather\w*", "CollectMetrics"),
]]

DOCUMENT = re.compile(r"\b(?:docs/)?([A-Z_]{3,}\.md)\b(?:[^\S\n]*[,(]?[^\S\n]*\\?\"([^\"\\\n]+)\\?\")?")
RECORD_NAMED = re.compile(r"\badr/(\d{4})\b")
PATH = re.compile(r"`((?:src|tests|tools|docs|deploy|bench|web|data|cmake)/[\w./@-]+)`")
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
CODE = re.compile(r"`[^`]*`")
ATOM = re.compile(r"(?:`[^`]*`|!?\[[^\]]*\]\([^)]*\)|[^\s`\[]|\[|`)+")


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    text = re.sub(r"[^\w\- ]", "", CODE.sub(lambda m: m.group(0)[1:-1], heading).strip().lower())
    return text.replace(" ", "-")


class Prose:
    """A document without its code: prose() blanks fences and indented blocks, lines stay lines."""

    def __init__(self, text: str):
        self.lines = text.split("\n")
        self.is_code = [False] * len(self.lines)
        fence, list_indent, blank = False, 0, True
        for i, line in enumerate(self.lines):
            if line.lstrip().startswith("```"):
                fence, self.is_code[i], blank = not fence, True, False
                continue
            marker = re.match(r"\s*([-*+]|\d+\.)\s+", line)
            indent = len(line) - len(line.lstrip())
            if not fence and marker and (indent < 4 or indent <= list_indent):
                list_indent = len(marker.group(0))
            elif line.strip() and indent == 0:
                list_indent = 0
            after_code = i > 0 and self.is_code[i - 1] and not fence
            self.is_code[i] = fence or (bool(line.strip()) and indent >= list_indent + 4
                                        and (blank or after_code))
            blank = not line.strip()
        self.headings = [line.lstrip("#").strip() for line, code in zip(self.lines, self.is_code)
                         if not code and re.match(r"#{1,6} ", line)]

    def prose(self) -> str:
        return "\n".join("" if code else line for line, code in zip(self.lines, self.is_code))

    def sections(self) -> str:
        """Everything that one may name in quotes: headings, bold words, code spans, heads of tables."""
        heads = [line for line, below in zip(self.lines, self.lines[1:]) if below.startswith("|---")]
        text = self.prose()
        return "\n".join([*self.headings, *heads, *re.findall(r"\*\*[^*]+\*\*", text),
                          *re.findall(r"`[^`]+`", text)]).lower()


def breakable(line: str) -> bool:
    """Whether a line that is too long could end at a space within its columns."""
    body = re.match(r"\s*(?:[-*+]|\d+\.)?\s*", line).end()
    atoms = list(ATOM.finditer(line, body))
    return len(atoms) > 1 and atoms[0].end() <= COLUMNS


class Piece:
    """A comment or string of C++: its text, joined over neighbours, and where each part begins."""

    def __init__(self, kind: str, before: str):
        self.kind, self.before = kind, before
        self.text = ""
        self.starts: list[tuple[int, int]] = []  # (place in text, place in file)

    def add(self, text: str, offset: int) -> None:
        if self.kind == "comment":
            offset += len(text) - len(text.lstrip())
            text = text.strip()
            self.text += " " if self.text else ""
        self.starts.append((len(self.text), offset))
        self.text += text

    def offset(self, at: int) -> int:
        place, offset = self.starts[bisect.bisect_right(self.starts, (at, sys.maxsize)) - 1]
        return offset + at - place


TOKEN = re.compile(r'//(?P<line>[^\n]*)|/\*(?P<block>.*?)\*/|R"(?P<mark>\w*)\((?P<raw>.*?)\)(?P=mark)"'
                   r"""|"(?P<string>(?:[^"\\\n]|\\.)*)"|'(?:[^'\\\n]|\\.)'|(?P<number>\b\d[\w'.]*)""",
                   re.DOTALL)


def pieces_of(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    end, kind = 0, ""
    for token in TOKEN.finditer(text):
        if token.group("number"):
            continue
        group = next((name for name in ("line", "block", "raw", "string") if token.group(name) is not None), None)
        if group is None:
            kind = ""
            continue
        between = text[end:token.start()]
        new = "comment" if group in ("line", "block") else "string"
        joins = new == kind and not between.strip() and (new == "string" or between.count("\n") <= 1)
        if not joins or group == "raw":
            if new == "string" and re.search(r"#\s*include\s*$", text[max(0, token.start() - 12):token.start()]):
                kind = ""
                continue
            pieces.append(Piece(new, text[max(0, token.start() - 80):token.start()]))
        pieces[-1].add(token.group(group), token.start(group))
        kind, end = new, token.end()
    return pieces


def code_of(text: str) -> str:
    """C++ without comments and strings; every place stays where it is."""
    return TOKEN.sub(lambda m: m.group(0) if m.group("number") else re.sub(r"[^\n]", " ", m.group(0)), text)


class Tree:
    def __init__(self, root: pathlib.Path, docs_only: bool = False):
        self.root, self.docs_only = root, docs_only
        self.broken: list[str] = []
        self.text: dict[str, str] = {}
        self.prose: dict[str, Prose] = {}
        self.files = self.list_files()
        for name in self.files:
            if not name.endswith((".png", ".zst", ".gz")):
                self.text[name] = (root / name).read_text(encoding="utf-8", errors="replace")
            if name.endswith(".md"):
                self.prose[name] = Prose(self.text[name])

    def list_files(self) -> list[str]:
        listed = subprocess.run(
            ["git", "-C", str(self.root), "ls-files", "--cached", "--others", "--exclude-standard"],
            capture_output=True, text=True)
        if listed.returncode == 0:
            names = listed.stdout.splitlines()
        else:  # an export without .git
            names = [str(path.relative_to(self.root)) for path in self.root.rglob("*")]
        return sorted(name for name in set(names) if (self.root / name).is_file()
                      and not name.startswith((".deps/", "build/")) and "node_modules/" not in name)

    def fail(self, name: str, offset: int, message: str) -> None:
        line = self.text[name].count("\n", 0, offset) + 1
        self.broken.append(f"{name}:{line}: {message}")

    def check(self) -> None:
        for name, text in self.text.items():
            if name.endswith(".md"):
                self.check_document(name)
            elif not self.docs_only:
                self.check_other(name, text)
        if not self.docs_only:
            self.check_quoted("docs/OPERATIONS.md")

    def check_quoted(self, name: str) -> None:
        """The first cells of its tables quote what one sees: such a message must exist."""
        if name not in self.text:
            return
        said = "\n".join(re.sub(r"\s+", " ", piece.text) for path, text in self.text.items()
                         if path.startswith("src/") and path.endswith((".h", ".cc"))
                         for piece in pieces_of(text) if piece.kind == "string")
        for row in re.finditer(r"^\| ([^|\n]*) \|", self.text[name], re.MULTILINE):
            for quoted in re.finditer(r'"([^"]+)"', CODE.sub("", row.group(1))):
                if quoted.group(1) not in said:
                    self.fail(name, row.start(), f"no message of src/ says '{quoted.group(1)}'")

    def check_document(self, name: str) -> None:
        prose = self.prose[name]
        text = prose.prose()
        self.check_links(name, text)
        self.check_named(name, text)
        if RECORD.match(name):
            return
        for place in PATH.finditer(text):
            if "NAME" not in place.group(1) and not (self.root / place.group(1)).exists():
                self.fail(name, place.start(), f"there is no '{place.group(1)}'")
        for number, (line, code) in enumerate(zip(prose.lines, prose.is_code), 1):
            if len(line) > COLUMNS and not code and not line.startswith(("|", "#")) and breakable(line):
                self.broken.append(f"{name}:{number}: {len(line)} columns; prose has at most {COLUMNS}")
        # A phrase may go on in the next line. Places stay: one character for one.
        flat = CODE.sub(lambda m: "`" * len(m.group(0)), text).replace("\n", " ")
        self.check_words(name, flat, lambda at: at)

    def check_other(self, name: str, text: str) -> None:
        if name == "tools/check_words.py":
            return
        if name.endswith((".h", ".cc")):
            self.check_cpp(name, text)
        elif PLAIN.match(name):
            self.check_words(name, text, lambda at: at)
        if name.endswith((".h", ".cc", ".py", ".txt", ".cmake", ".js", ".mjs", ".json", ".sql", ".sh")) \
                or PLAIN.match(name):
            self.check_named(name, text)

    def check_cpp(self, name: str, text: str) -> None:
        for piece in pieces_of(text):
            self.check_words(name, piece.text, piece.offset)
            if piece.kind == "string" and not name.endswith("_test.cc") and FRAGMENT.match(piece.text) and (
                    HELP.search(piece.before)
                    or (OPTIONS.match(name) and ARGUMENT.search(piece.before))):
                self.fail(name, piece.offset(0), f"'{shorten(piece.text)}': a help text names its subject")
        code = code_of(text)
        for pattern, instead in NAMES:
            for found in pattern.finditer(code):
                self.fail(name, found.start(), f"'{found.group(0)}': the field says {instead}")

    def check_words(self, name: str, text: str, place) -> None:
        for pattern, instead in WORDS:
            for found in pattern.finditer(text):
                around = text[max(0, found.start() - 15):found.end() + 15]
                self.fail(name, place(found.start()), f"'{shorten(around)}': write {instead}")

    def check_links(self, name: str, text: str) -> None:
        for found in LINK.finditer(text):
            target, _, anchor = found.group(1).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = (self.root / name).parent / target if target else self.root / name
            if not path.exists():
                self.fail(name, found.start(), f"the link '{found.group(1)}' leads to no file")
            elif anchor and path.is_file():
                inside = str(path.resolve().relative_to(self.root.resolve()))
                anchors = [slug(heading) for heading in self.prose[inside].headings] \
                    if inside in self.prose else []
                if anchor not in anchors:
                    self.fail(name, found.start(), f"the link '{found.group(1)}' leads to no heading")

    def check_named(self, name: str, text: str) -> None:
        for found in DOCUMENT.finditer(text):
            document, section = found.groups()
            paths = [path for path in (f"docs/{document}", document) if path in self.prose]
            beside = (self.root / name).parent / document
            if not paths and not beside.exists():
                self.fail(name, found.start(), f"there is no document '{document}'")
            elif paths and section and found.group(0).startswith("docs/"):
                if section.lower() not in self.prose[paths[0]].sections():
                    self.fail(name, found.start(), f"docs/{document} has no section '{section}'")
        for found in RECORD_NAMED.finditer(text):
            if not any(path.startswith(f"docs/adr/{found.group(1)}-") for path in self.files):
                self.fail(name, found.start(), f"there is no decision record {found.group(1)}")


def shorten(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= 60 else text[:57] + "..."


def check(root: pathlib.Path, docs_only: bool = False) -> list[str]:
    tree = Tree(root, docs_only)
    tree.check()
    return tree.broken


LONG = "word " * 25
CLEAN = {
    "docs/SQL.md": "# SQL\n\nOne **Memory** rule. `at`.\n\n## What is refused\n\n| outcome | a |\n|---|---|\n"
                   "| " + LONG + " | x |\n\n```text\n" + LONG + "\nlikewise\n```\n\n    " + LONG + "\n",
    "docs/adr/0001-a.md": "# 1. A\n\n" + LONG + "likewise\n",
    "docs/LAKE.md": "See [SQL](SQL.md#what-is-refused), docs/SQL.md, \"Memory\", adr/0001 and `docs/SQL.md`.\n"
                    "There is no lake. It is no longer there. `is no` is quoted.\n\n"
                    "- `" + "x" * 120 + "`\n- a list\n\n  with a paragraph\n",
    "README.md": "[docs](docs/LAKE.md) and ![picture](docs/" + "LAKE.md" + ")\n",
    "src/base/a.cc": '// docs/SQL.md, "outcome": there is no shadow.\nint x = 1\'000; // "is no" \n'
                     'auto s = "there is no topic"; char q = \'"\'; int Told = 0;\n'
                     'Add("sightline_x", "Memory of the tables");\n',
    "src/config/options.cc": 'Text("lake.dir", "folder", &o, "folder of the tables"); Find("of the");\n',
    "docs/OPERATIONS.md": '| you see | do |\n|---|---|\n| `x`: "there is no topic" | "make" it |\n',
    "src/base/a_test.cc": 'EXPECT_EQ(x, "of the tables");\n',
}
# file, text, words that the finding must hold
PLANTED = [
    ("docs/X.md", "# X\n\n" + LONG + "\n", "125 columns"),
    ("docs/X.md", "- " + LONG + "\n", "127 columns"),
    ("docs/X.md", "- a\n  - b\n\n    " + LONG + "\n", "129 columns"),
    ("docs/X.md", "[a](b.md)\n", "leads to no file"),
    ("docs/X.md", "[a](SQL.md#what)\n", "leads to no heading"),
    ("docs/X.md", "see docs/GONE.md\n", "no document 'GONE.md'"),
    ("docs/X.md", 'see docs/SQL.md, "Gone"\n', "no section 'Gone'"),
    ("docs/X.md", "see `src/base/gone.cc`\n", "there is no 'src/base/gone.cc'"),
    ("docs/X.md", "the same,\nlikewise\n", "docs/X.md:2: "),
    ("docs/X.md", "This is no\nfile.\n", "'is not a ...'"),
    ("src/base/x.cc", "// docs/GONE.md\n", "no document 'GONE.md'"),
    ("src/base/x.cc", '// docs/SQL.md, "Gone"\n', "no section 'Gone'"),
    ("src/base/x.cc", "// adr/0002\n", "no decision record 0002"),
    ("src/base/x.cc", "// an alert\n// is told\n", "'is reported'"),
    ("src/base/x.cc", 'auto s = "this is "\n    "no HTTP/1.1";\n', "'is not a ...'"),
    ("src/base/x.cc", "/* what shall do nothing */\n", "'must'"),
    ("src/base/x.cc", 'auto s = R"(by turns)";\n', "'alternately'"),
    ("src/base/x.cc", '// one file a location\n', "one X per Y"),
    ("src/base/x.cc", 'Add("sightline_x", "of the tables");\n', "names its subject"),
    ("src/base/x.cc", 'm = {.help = "that SQL may "\n "use"};\n', "'that SQL may use'"),
    ("src/config/query_options.cc", 'Text("a", "b", &c, "of the tables");\n', "names its subject"),
    ("src/cli/command_x.cc", 'add_option("--a", b, "of a server");\n', "names its subject"),
    ("src/base/x.h", "class LakeAsker;\n", "the field says LakeClient"),
    ("src/base/x.h", "void TellHealth();\n", "the field says Report..."),
    ("docs/OPERATIONS.md", '| you see | do |\n|---|---|\n| "it is gone" | no |\n', "no message of src/"),
    ("deploy/x.service", "# a step likewise\n", "'the same'"),
]


def write(root: pathlib.Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def self_test() -> int:
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), CLEAN)
        wrong += [f"found in a clean tree: {line}" for line in check(pathlib.Path(folder))]
    for name, text, words in PLANTED:
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), {**CLEAN, name: text})
            broken = check(pathlib.Path(folder))
            if not any(line.startswith(name + ":") and words in line for line in broken):
                wrong.append(f"not found: {name} with {text!r} ({words}); found {broken}")
            if len(broken) > 1:
                wrong.append(f"found too much: {name} with {text!r}: {broken}")
    print("\n".join(wrong) if wrong else f"{len(PLANTED)} planted violations found")
    return 1 if wrong else 0


def main() -> int:
    if "--self-test" in sys.argv:
        return self_test()
    broken = check(ROOT, "--docs" in sys.argv)
    if "--summary" in sys.argv:
        for name, count in collections.Counter(line.split(":")[0] for line in broken).most_common():
            print(f"{count:5} {name}")
    else:
        print("\n".join(broken) if broken else "words: plain")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
