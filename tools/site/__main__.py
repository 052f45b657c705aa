"""Write every generated page and picture of the site to a folder: `python -m tools.site [out/site]`."""

import sys
from pathlib import Path

from tools.site import (
    adam_pictures,
    detector_page,
    file_pages,
    reference_pages,
    rule_pages,
    theory_pages,
)

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "out/site")
for part in (rule_pages, theory_pages, detector_page, file_pages, reference_pages, adam_pictures):
    for path, content in part.generate().items():
        target = FOLDER / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        print(target)
