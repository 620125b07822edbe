"""The codes that no rule reports: what they say of a file, for `evallint rule CODE`."""

from __future__ import annotations

UNREADABLE = """\
The file cannot be read, decoded or parsed, so nothing is known of what is in it. The message says why, and the place is where it shows.

It is reported whatever `select` says; `ignore` hides it. A file that mentions neither PyTorch nor a mode is told of only where it is named
itself.
"""

UNUSED_NOQA = """\
A `# noqa: EVL001` (or `# flake8: noqa: EVL001`) names a code of which nothing is found where the comment holds. The bug may be mended, or
the code misspelt; either way the comment would silence the next bug unseen.

It is reported on request alone: `--extend-select EVL910`, or `extend-select = ["EVL910"]` in the configuration. Comments without codes and
codes of other tools are left alone; so are codes that are not selected, or that `per-file-ignores` silences in the file. A finding that
`confidence` or `severity` hides is a use of its comment. `# noqa: EVL001, EVL910` keeps a comment. `--fix` takes the code, or the comment
with its last code, away.

Ask over the whole project: what is found in one file can depend on those that call it.
"""

PAGES: dict[str, tuple[str, str]] = {"EVL900": ("unreadable-file", UNREADABLE), "EVL910": ("unused-noqa", UNUSED_NOQA)}
"""Name and page of each, by code."""
