"""Clients' connections: uvicorn's protocol with limits of ours, and with quicker ways to begin a request and to send a response.

What a response says is made in `http` and in the packages above it.
Leans on `http` for messages and for the names of what a request is offered.
"""
