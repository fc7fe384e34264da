"""The look of the page: templates, style sheet, and the view that they print. Only `panel.render` imports it."""
