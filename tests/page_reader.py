"""A page of HTML as a test looks at it: its text, its tags, and whatever could load, run or leave it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "path", "rect", "line"}
LOADS = {"src", "href", "srcset", "data", "poster", "action", "formaction", "background", "cite", "xlink:href", "ping"}
BARRED = {"script", "iframe", "object", "embed", "link", "base", "form", "img", "image", "use", "foreignobject",
          "video"}


class PageReader(HTMLParser):
    """Text, tags with attributes, headings and sections of a page; `open` is empty when every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.boxes = "", []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if dict(attrs).get("class") == "text":
            self.boxes.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if self.open and self.open[-1] in ("div", "pre") and self.boxes:
            self.boxes[-1] += data

    def sections(self) -> list[str]:
        """Ids of the sections, in order."""
        return [str(attrs["id"]) for tag, attrs in self.tags if tag == "section"]

    def dangers(self) -> list[str]:
        """Tags and attributes that could run something or load it from elsewhere."""
        tags = [tag for tag, _ in self.tags if tag.lower() in BARRED]
        handlers = [key for _, attrs in self.tags for key in attrs if key.startswith("on") or key == "style"]
        leaving = [f"{key}={value}" for _, attrs in self.tags for key, value in attrs.items()
                   if key in LOADS and not str(value).startswith("#")]
        return tags + handlers + leaving
