"""A hook of MkDocs: links that lead out of docs/ lead to the repository, and to something that is there."""

import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError

LINK = re.compile(r"\]\((\.\.?/[^)\s#]*)")


def on_page_markdown(markdown, page, config, files):
    root = Path(config.config_file_path).parent
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def replaced(match):
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        if target.startswith("docs/") and not target.startswith("docs/argocd/"):
            return match[0]
        if not (root / target).exists():
            raise PluginError(f"{page.file.src_uri} links to {target}, which is not there")
        kind = "tree" if (root / target).is_dir() else "blob"
        return f"]({config.repo_url}/{kind}/main/{target}"

    return LINK.sub(replaced, markdown)
