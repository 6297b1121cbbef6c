"""The leaderboard as one HTML file that needs no network: made from findings, never from customers' values."""
