"""The tables of README.md and benchmarks/README.md, written from results/*.json; `python -m benchmarks.tables` writes them anew."""
