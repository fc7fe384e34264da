"""How stable the panel's verdicts are: the changes, the run over the cases, the figures, the record of it all."""
