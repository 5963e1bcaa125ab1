"""Side by side with what a user would pick instead: the official SDK in a loop, and curl.

Never part of the test run. Run from the repository's root, in an environment that has `imagebatch[test]`:

    python -m benchmarks compare      the runner, the SDK and curl, interleaved
    python -m benchmarks finished     a batch of 100,000 jobs that is already done, run again
    python -m benchmarks profile      where the runner's own CPU goes

nginx and curl must be installed. How to read the figures: docs/benchmarks.md.
"""
