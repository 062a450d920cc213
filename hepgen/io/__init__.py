"""Files to jets, and scores to files: awkward arrays in standard names, GeV and mm. Knows no torch."""
