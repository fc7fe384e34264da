"""The desk in a browser: FastAPI, Jinja templates, plain JavaScript; everything works as forms too.

guard     host, origin, size and headers of every request
access    who is here: one-time token, sessions, tries
context   what the routes share: who asks, what was posted, how it is answered
runs      one engine, one run at a time, and what watchers see of it
serve     the server itself
"""
