"""To the Hub and back: publishing, the form with the map only, repositories."""
