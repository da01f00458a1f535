"""The dashboard: pages for browsers over the same functions and queries as the API's routes."""
