"""``taskapi report``: how work goes, as tables on the terminal or as a page with charts. It reads the views only."""
