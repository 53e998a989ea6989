"""The dashboard: a page of plain HTML, CSS and JavaScript modules that calls the API with the key its user gives it.

No build step, nothing from elsewhere: what is in `static` is what the browser gets. `bridge.api.routes.ui` serves it.
"""
