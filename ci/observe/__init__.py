"""What servers in production show of themselves: scraped, judged and drawn."""
