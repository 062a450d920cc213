"""Jets made from scratch: Pythia8, a fast detector, anti-kT, a ROOT file in JetClass names.

`python -m pipelines.samples pipelines/samples/top_qcd.yaml --help` shows what can be changed; the
README beside this file gives the recipe. Needs the extra `hepgen[pythia]` (pythia8mc and fastjet,
both GPL).
"""
