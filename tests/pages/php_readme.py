"""As on the page docs/php.md."""

from pages.php import prepare

__all__ = ["prepare"]
