"""How the pages of the documentation are run; see runner.py. The other modules here are what single pages need beside them."""
