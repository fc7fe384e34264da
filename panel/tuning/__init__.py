"""What a change of a persona does to its text, its verdicts and its quotes; and changes that are worth making."""
