"""Compiles the Python snippets of the given files, and prints their number."""

import re
import sys

count = 0
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"^//! ?", "", file.read(), flags=re.MULTILINE)
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start()) + 1
        compile("\n" * line + match[1], path, "exec")
        count += 1
print(count)
