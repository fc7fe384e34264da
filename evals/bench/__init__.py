"""The benchmark behind `review-panel bench`: this project beside what people would use instead.

contenders.py   who runs, in which environment, with which command
children.py     one contender as a process: its lines, its end
figures.py      from lines to reviews per minute, and what they are worth beside each other
plot.py         the figures as a picture
command.py      the order of it all: tasks, contenders, record, table
"""
