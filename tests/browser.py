# Copyright (c) mmhkt authors. All rights reserved.
"""Pages as a browser shows them, on a phone and on a desk."""
import html
import json
import re
import shutil
import subprocess

import pytest

PHONE, DESK = WIDTHS = (390, 1280)
# Figures inside a closed <details> have no size yet.
MEASURE = """<script>
const box = e => e.getBoundingClientRect();
document.title = 'seen ' + JSON.stringify({
  inner: innerWidth,
  whole: document.documentElement.scrollWidth,
  right: box(document.querySelector(%s)).right,
  plots: [...document.querySelectorAll('svg')].map(e => ({
    words: (e.querySelector(':scope > title') || {textContent: ''})
      .textContent.length,
    role: e.getAttribute('role'),
    shown: !e.closest('details:not([open])'),
    width: box(e).width, height: box(e).height, right: box(e).right}))});
</script></body>"""


def find_browser():
    """Chromium; the test is skipped where there is none."""
    names = ('chromium', 'chromium-browser', 'google-chrome')
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f'none of {", ".join(names)} is installed')
    return browser


def browse(browser, page, folder, width=DESK, *more):
    """Open a page; the DOM and what was logged."""
    command = [
        browser, '--headless', '--no-sandbox', '--disable-gpu',
        f'--user-data-dir={folder}', '--enable-logging=stderr', '--v=0',
        f'--window-size={width},900', '--allow-file-access-from-files',
        '--hide-scrollbars', *more, '--dump-dom',
        page.as_uri()
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    logged = [x for x in done.stderr.splitlines() if 'CONSOLE' in x]
    return done.stdout, logged


def check_views(browser, page, folder, column, plots):
    """Assert that a page is fit to be seen, at both widths: nothing but a
    table's own box is scrolled sideways, and a column is seen without that;
    every plot has a size, fits, and says in words what it shows; nothing is
    logged.

    Args:
        browser (str): The program.
        page (Path): The page.
        folder (Path): Where to write.
        column (str): CSS selector of a cell of the column.
        plots (int): How many there are.
    """
    assert browse(browser, page, folder / 'profile')[1] == []
    (folder / 'measure.html').write_text(page.read_text().replace(
        '</body>', MEASURE % json.dumps(column)))
    # Chromium's window is 500 pixels wide at least: a frame is not.
    for width in WIDTHS:
        frame = folder / 'frame.html'
        frame.write_text(
            f'<iframe src="measure.html" style="border: 0; width: {width}px; '
            'height: 900px" onload="document.title = '
            'this.contentDocument.title"></iframe>')
        dom, logged = browse(browser, frame, folder / 'profile', 1400)
        seen = re.search(r'<title>seen (.*?)</title>', dom)
        seen = json.loads(html.unescape(seen[1]))
        assert logged == [] and seen['inner'] == width
        assert seen['whole'] <= width and seen['right'] <= width
        assert len(seen['plots']) == plots
        for plot in seen['plots']:
            assert plot['role'] == 'img' and plot['words'] > 10
            if plot['shown']:
                assert plot['width'] > 100 and plot['height'] > 30
                assert plot['right'] <= width + 1
