"""hepgen."""
