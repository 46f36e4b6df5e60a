"""What a file is, by its name: the Content-Type to send, with a charset for text.

The table is ours, over the one inside Python; the system's own files (/etc/mime.types) are not read, so a folder is
served alike everywhere.
"""

from __future__ import annotations

from functools import lru_cache
from mimetypes import MimeTypes
from typing import Final

UNKNOWN: Final = "application/octet-stream"

_OURS: Final = {
    # Pages and programs
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "application/xhtml+xml",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "cjs": "text/javascript",
    "wasm": "application/wasm",
    "json": "application/json",
    "map": "application/json",
    "jsonld": "application/ld+json",
    "geojson": "application/geo+json",
    "ndjson": "application/x-ndjson",
    "jsonl": "application/x-ndjson",
    "webmanifest": "application/manifest+json",
    "ipynb": "application/x-ipynb+json",
    "xml": "application/xml",
    "xsl": "application/xslt+xml",
    "xslt": "application/xslt+xml",
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "kml": "application/vnd.google-earth.kml+xml",
    "gpx": "application/gpx+xml",
    # Text that people read; programs are shown by every browser when they are plain text
    "txt": "text/plain",
    "text": "text/plain",
    "log": "text/plain",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "rst": "text/plain",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "toml": "application/toml",
    "ini": "text/plain",
    "cfg": "text/plain",
    "conf": "text/plain",
    "diff": "text/plain",
    "patch": "text/plain",
    "tex": "application/x-tex",
    "vtt": "text/vtt",
    "srt": "application/x-subrip",
    "ics": "text/calendar",
    "vcf": "text/vcard",
    "sql": "application/sql",
    "graphql": "application/graphql",
    "scss": "text/plain",
    "less": "text/plain",
    "tsx": "text/plain",
    "jsx": "text/plain",
    "vue": "text/plain",
    "py": "text/plain",
    "pyi": "text/plain",
    "sh": "text/plain",
    "bash": "text/plain",
    "c": "text/plain",
    "h": "text/plain",
    "cpp": "text/plain",
    "hpp": "text/plain",
    "java": "text/plain",
    "go": "text/plain",
    "rs": "text/plain",
    "rb": "text/plain",
    "php": "text/plain",
    "pl": "text/plain",
    "lua": "text/plain",
    "sum": "text/plain",
    "sha256": "text/plain",
    # Pictures
    "png": "image/png",
    "apng": "image/apng",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "jxl": "image/jxl",
    "heic": "image/heic",
    "heif": "image/heif",
    "svg": "image/svg+xml",
    "ico": "image/vnd.microsoft.icon",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    # Sound and film
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "mid": "audio/midi",
    "midi": "audio/midi",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "webm": "video/webm",
    "ogv": "video/ogg",
    "mkv": "video/matroska",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    # Letters
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "ttc": "font/collection",
    "eot": "application/vnd.ms-fontobject",
    # Documents
    "pdf": "application/pdf",
    "epub": "application/epub+zip",
    "rtf": "application/rtf",
    "ps": "application/postscript",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    # Packed. A name that ends so is sent as it is: no Content-Encoding, or the client would unpack it
    "gz": "application/gzip",
    "tgz": "application/gzip",
    "br": "application/x-brotli",
    "zst": "application/zstd",
    "bz2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zip": "application/zip",
    "7z": "application/x-7z-compressed",
    "rar": "application/vnd.rar",
    "tar": "application/x-tar",
    "jar": "application/java-archive",
    "whl": "application/zip",
    "apk": "application/vnd.android.package-archive",
    "deb": "application/vnd.debian.binary-package",
    "rpm": "application/x-rpm",
    "iso": "application/x-iso9660-image",
    "dmg": "application/x-apple-diskimage",
    # Data
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
    "sqlite": "application/vnd.sqlite3",
    "npy": UNKNOWN,
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "stl": "model/stl",
}
_PLAIN_NAMES: Final = frozenset(
    ("authors", "changelog", "copying", "dockerfile", "license", "makefile", "news", "notice", "readme", "todo")
)
_BUILT_IN: Final = MimeTypes(
    filenames=()
)  # a table of its own: what other modules add to the common one does not count
_TEXTUAL: Final = frozenset(
    (
        "application/json",
        "application/manifest+json",
        "application/geo+json",
        "application/ld+json",
        "application/x-ndjson",
        "application/yaml",
        "application/toml",
        "application/sql",
        "application/graphql",
        "application/x-subrip",
        "application/x-tex",
        "application/x-ipynb+json",
    )
)
_ALSO_PACKS: Final = frozenset(
    (
        "application/wasm",
        "application/vnd.ms-fontobject",
        "application/vnd.apple.mpegurl",
        "application/rtf",
        "font/ttf",
        "font/otf",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "model/stl",
    )
)


@lru_cache(1024)
def of_extension(extension: str) -> str:
    """The Content-Type for names that end in ".extension", in lower case."""
    kind = _OURS.get(extension) or _BUILT_IN.types_map[True].get(f".{extension}") or UNKNOWN
    # XML says its charset itself, and what the header says would win (RFC 7303 §3).
    # JSON is always UTF-8 and its type has no charset by its own standard, but browsers that show it look for one.
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in _TEXTUAL else kind


def content_type(name: str) -> str:
    """The Content-Type for a file of that name. Text is taken to be UTF-8; what is unknown is bytes, to be stored."""
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem:
        return "text/plain; charset=utf-8" if name.lower() in _PLAIN_NAMES else UNKNOWN
    return of_extension(extension.lower()) if len(extension) <= 16 else UNKNOWN


def packs_well(content_type: str) -> bool:
    """Whether compressing such content is worth it: text, and a few binary forms that are not compressed in themselves."""
    kind = content_type.partition(";")[0].strip()
    return kind.startswith("text/") or kind in _TEXTUAL or kind in _ALSO_PACKS or kind.endswith(("xml", "+json"))
