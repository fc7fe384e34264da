"""Reading a page as a browser would, for tests."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, and the text inside each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []  # the text inside the tag of the same place in `tags`
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"left open: {[self.tags[place] for place in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.tags.append((tag, dict(attrs)))
        self.text.append("")
        if tag not in VOID:
            self._open.append(len(self.tags) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.tags[self._open[-1]][0] == tag, f"</{tag}> closes {self.tags[self._open[-1]]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self.text[place] += data

    def all(self, tag: str, class_: str | None = None) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and text of every `tag`, or of those with the class `class_`."""
        found = [(a, text) for (name, a), text in zip(self.tags, self.text, strict=True) if name == tag]
        return [(a, text) for a, text in found if class_ is None or class_ in (a.get("class") or "").split()]

    @property
    def visible(self) -> str:
        """All text of the body, with its white space folded."""
        return " ".join(self.all("body")[0][1].split())
