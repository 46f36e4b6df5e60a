"""Fuzzing: every parser of bytes from a peer is fed inputs that grow from what reaches new code in it. `python -m fuzz`.

target.py says what a target is; families/ holds them. child.py runs one under atheris (libFuzzer), engine.py starts it, keeps
the inputs worth keeping (corpus/) and those that broke something (crashes/). tests/test_fuzz_corpus.py replays both.
"""
