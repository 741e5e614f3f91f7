# Copyright (c) mmhkt authors. All rights reserved.
"""Whether every link inside the site leads somewhere: `make docs`.

Sphinx warns of links between pages; this also sees those of its theme, of the
pages that comparisons have written, and to files.
"""
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and what can be linked to in it."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.anchors = [], {'', 'top'}
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes) -> None:
        given = dict(attributes)
        self.anchors.update(given[k] for k in ('id', 'name') if given.get(k))
        self.links += [given[k] for k in ('href', 'src') if given.get(k)]


def main(site: Path) -> None:
    pages = {path.resolve(): Page(path) for path in site.rglob('*.html')}
    count, dead = 0, []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve()
            target = target if parts.path else path
            known = pages.get(target)
            anchors = known.anchors if known else {unquote(parts.fragment)}
            if not target.exists() or unquote(parts.fragment) not in anchors:
                dead.append(f'{path.relative_to(site.resolve())}: {link}')
    print('\n'.join(sorted(set(dead))), file=sys.stderr, end='')
    print(f'{len(pages)} pages, {count} links inside, {len(dead)} dead')
    sys.exit(bool(dead) or not pages)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
