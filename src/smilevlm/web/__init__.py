"""The page over `predict`: one scan or sequence in, answer out, nothing kept. Needs the extra `web`."""

from smilevlm.web.server import serve
from smilevlm.web.settings import WebSettings

__all__ = ["WebSettings", "serve"]
