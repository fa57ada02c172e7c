"""Before any test imports torch: one thread. The tests' networks are tiny, and two threads that wait for each other by
spinning make them ten times slower when something else (a browser, another test run) wants a core as well."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
