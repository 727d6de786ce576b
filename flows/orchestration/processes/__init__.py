"""Child processes: started, watched, started again, and ended with the process that started them.

Also what makes a process the one `entrepot up` of its home.
What a process runs is said by whoever starts it.
"""
