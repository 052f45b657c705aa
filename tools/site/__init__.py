"""The generated part of the documentation site: pages of rules, formulas and files, and every picture."""
