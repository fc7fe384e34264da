"""What people would use instead of this project: one short script each, run by `review-panel bench`.

Each runs as a process of its own, reads the same file of tasks (`python -m evals.peers.tasks`), and prints JSON lines
(protocol.py). None knows how it will be judged.
"""
