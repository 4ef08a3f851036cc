"""Lessons: plain scripts that run from top to bottom, and the pages made of what they show.

``show`` is what a script shows with; ``sources`` takes equations and lines from the real files; ``script`` runs a
lesson; ``pages`` writes HTML; ``notebooks`` writes notebooks; ``stepper`` is the page that walks through time.
"""
