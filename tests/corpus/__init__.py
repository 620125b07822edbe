"""The benchmark: evallint against hand-labelled evaluation code of public packages and repositories.

The facts are in `fixtures/corpus/`; the code is downloaded to a cache outside the repository. Run as `python -m tests.corpus`.
"""
