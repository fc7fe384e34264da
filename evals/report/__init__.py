"""A stability run for readers: one page for people, and JUnit XML, Markdown and annotations for CI."""
