"""Lessons: plain scripts that run from top to bottom, and the pages made from what they show.

A lesson calls ``show``. ``build`` runs lessons and writes their pages, and ``stepper`` writes the page that steps
through time. Each of the other modules makes one thing for those three: ``items`` are what a page is made of, ``html``
turns them into HTML, ``sources`` reads equations and lines from the project's files, ``script`` runs a lesson,
``pages`` and ``notebooks`` put together what it showed. ``walk`` computes what the stepper needs: ``pick`` chooses the
units that it shows, ``words`` says what its quantities mean, and ``mistakes`` are those that a reader can plant.
"""

from reports.teaching import show

__all__ = ["show"]
