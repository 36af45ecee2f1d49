"""Paths that contain a run id of any characters: Starlette's own convertors stop at a line break."""

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import Mount, compile_path
from starlette.types import ASGIApp


class _Whole(PathConvertor):
    regex = "(?s:.*)"


register_url_convertor("whole", _Whole())
RUN = "{run_id:whole}"
"""In a route: the rest of the path."""


class Below(Mount):
    """Mounts an application for any path below `path`."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        super().__init__(path, app)
        self.path_regex, self.path_format, self.param_convertors = compile_path(f"{self.path}/{{path:whole}}")
