"""One page that shows what a log says: a single HTML file with its pictures inside."""
